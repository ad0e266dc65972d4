"""HTTP interface of the inference service. Imported only if FEDBUS_HTTP is set."""
