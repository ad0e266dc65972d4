"""Messages of the gRPC interface, generated from the .proto files beside this file."""
