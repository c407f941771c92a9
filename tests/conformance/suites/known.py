"""Cases that lb does not pass today, and why. One that passes after all must leave this table."""

KNOWN = {
    "Via is added to requests": "no Via, like HAProxy and nginx: hardly anybody reads it, every request would pay",
    "Via is appended to": "no Via of its own; what clients send is passed on",
    "Content-Length as a trailer has no effect": "trailers of requests are passed on as they are",
    "Transfer-Encoding as a trailer has no effect": "trailers of requests are passed on as they are",
    "Host as a trailer has no effect": "trailers of requests are passed on as they are",
}
