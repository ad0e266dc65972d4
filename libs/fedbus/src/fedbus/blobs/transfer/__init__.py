"""Transfer of blobs over the bus: chunks, downloads and uploads, by unicast and by multicast. Pure.

The receiver drives a transfer. MQTT may lose, repeat and delay a message, and a broker drops
messages without notice if a subscriber is slow; chunks tolerate all of that.
"""
