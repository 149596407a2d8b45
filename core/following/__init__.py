"""Following threads: from topics and the store to what one reader has not had yet, without gap or repeat.

feed.py           one follower of the topics, for all readers of the process
thread_stream.py  one thread for one reader: the store up to now, then live
event_methods.py  a method for each kind of event
position.py       how far a reader is, as the ids of frames say it, and where its stream ends
text_reader.py    what a reader has had of an answer that is being written
graph_reader.py   what a reader has had of a graph's active leg
written_parts.py  what a reader has had of one message of a graph
"""
