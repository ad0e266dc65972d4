"""The bus: its interface (`bus`), MQTT (`client`), a broker in memory and a local Mosquitto."""
