"""Federated learning as small asyncio services over MQTT."""
