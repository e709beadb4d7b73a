"""What is learnt from incidents and drills: questions, the post-mortem, times.

Pure: text and values in, text and values out. ``bot.lessons`` joins it to the store.
"""
