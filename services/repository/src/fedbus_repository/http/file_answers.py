"""Answers, refusals and forms that endpoints with files have in common."""

from fedbus.http_api.endpoints import FILE, Content

BINARY: Content = (200, "application/octet-stream", FILE)
DONE: Content = (204, "", {})
RANGES = {412: "If-Match names other bytes", 416: "the range begins beyond the end"}
UPLOAD_ERRORS = {
    400: "no file, several ones, another digest than a header says, or the body broke off",
    408: "nothing came for 30 s",
    411: "no Content-Length",
    413: "too large",
    503: "too many uploads at a time",
    507: "too little free disk space",
}
FORM = {
    "type": "object",
    "properties": {"file": {"type": "string", "format": "binary"}},
}
WEIGHT_FORMAT_QUERY = {"format": "npz or safetensors; by default plain"}
