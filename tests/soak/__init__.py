"""The soak test: thousands of uploads while processes are killed or frozen and events are lost.

`make soak` runs it.
"""
