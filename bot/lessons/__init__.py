"""Joins what is learnt (``bot.learn``) to the store: quiz, post-mortem, follow-ups, measures. No chat, no page."""
