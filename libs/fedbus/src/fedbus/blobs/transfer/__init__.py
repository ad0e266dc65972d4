"""How a blob crosses the bus: the receiver drives, one model leaves its source once. Pure.

    chunk      the header that makes a slice of a blob safe to lose, repeat and delay
    receiver   one blob on its way here: what is missing, what to want next
    intake     all blobs on their way here, under one bound of what may be in flight
    group      one blob on its way to many at once
    outlet     all blobs served from here: lanes and groups

MQTT is taken for what it proved to be: an authenticated layer that may lose, repeat, delay, and
drop in silence when a subscriber is slow.
"""
