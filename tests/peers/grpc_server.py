"""A gRPC server (h2c) with one method of each kind, on plain bytes. Prints its port first."""

from concurrent import futures

import grpc


def unary(request, context):
    context.send_initial_metadata((("x-initial", "yes"),))
    context.set_trailing_metadata((("x-trailing", "yes"),))
    return b"unary:" + request


def count(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def total(requests, context):
    return b"%d" % sum(len(r) for r in requests)


def chat(requests, context):
    for request in requests:
        yield b"chat:" + request


def fail(request, context):
    context.set_trailing_metadata((("x-trailing", "failed"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today")


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
}

server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", HANDLERS),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
