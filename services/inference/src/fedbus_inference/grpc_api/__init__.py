"""gRPC interface of the inference service. Imported only if FEDBUS_GRPC is set."""
