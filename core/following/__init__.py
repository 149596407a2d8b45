"""Following threads: from topics and the store to what one reader has not had yet, without gap or repeat.

feed.py           one follower of the topics, for all readers of the process
thread_stream.py  one thread for one reader: the store up to now, then live
position.py       how far a reader is, as the ids of frames say it
text_reader.py    what a reader has had of an answer that is being written
graph_reader.py   what a reader has had of a graph's leg that is going
written.py        what a reader has had of one message of a graph
"""
