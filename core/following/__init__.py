"""Following threads: from topics and the store to what one reader has not had yet, without gap or repeat.

feed.py           one follower of the topics, for all readers of the process
thread_stream.py  one thread for one reader: the store up to now, then live
event_methods.py  a method for each kind of event
position.py       a reader's position, as encoded in the ids of frames, and the end of its stream
text_reader.py    what a reader has received of an answer that is being written
graph_reader.py   what a reader has received of a graph's active leg
written_parts.py  what a reader has received of one message of a graph
"""
