"""The bus: what it is (`base`), over MQTT (`mqtt`), and a broker of our own (`broker`)."""
