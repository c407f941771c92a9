"""A gRPC client: grpc_client.py HOST:PORT [CA]. Calls every method of grpc_server.py and checks the answers."""

import queue
import sys

import grpc

DEADLINE = 20


def main(target, ca=None):
    with channel_to(target, ca) as channel:
        check_unary(channel)
        check_server_streaming(channel)
        check_client_streaming(channel)
        check_bidirectional(channel)
        check_error(channel)
        check_unknown_method(channel)
        check_concurrent(channel)
    print("ok")


def channel_to(target, ca):
    if ca is None:
        return grpc.insecure_channel(target)
    with open(ca, "rb") as file:
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(file.read()))


def check_unary(channel):
    answer, call = channel.unary_unary("/test.Test/Unary").with_call(b"hello", timeout=DEADLINE)
    assert answer == b"unary:hello", answer
    assert ("x-initial", "yes") in call.initial_metadata(), call.initial_metadata()
    assert ("x-trailing", "yes") in call.trailing_metadata(), call.trailing_metadata()
    large = b"x" * (3 << 20)
    assert channel.unary_unary("/test.Test/Unary")(large, timeout=DEADLINE) == b"unary:" + large


def check_server_streaming(channel):
    answers = list(channel.unary_stream("/test.Test/Count")(b"500", timeout=DEADLINE))
    assert answers == [b"%d" % n for n in range(500)], len(answers)


def check_client_streaming(channel):
    answer = channel.stream_unary("/test.Test/Total")(iter([b"x" * 1000] * 500), timeout=DEADLINE)
    assert answer == b"500000", answer


def check_bidirectional(channel):
    """Each message is sent only after the answer to the one before: a proxy that gathers would hang."""
    outgoing = queue.Queue()
    answers = channel.stream_stream("/test.Test/Chat")(iter(outgoing.get, None), timeout=DEADLINE)
    for number in range(50):
        outgoing.put(b"%d" % number)
        answer = next(answers)
        assert answer == b"chat:%d" % number, answer
    outgoing.put(None)
    assert list(answers) == []
    assert answers.code() == grpc.StatusCode.OK, answers.code()


def check_error(channel):
    error = error_of(lambda: channel.unary_unary("/test.Test/Fail")(b"", timeout=DEADLINE))
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
    assert error.details() == "not today", error
    assert ("x-trailing", "failed") in error.trailing_metadata(), error.trailing_metadata()


def check_unknown_method(channel):
    error = error_of(lambda: channel.unary_unary("/test.Test/None")(b"", timeout=DEADLINE))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error


def check_concurrent(channel):
    calls = [channel.unary_unary("/test.Test/Unary").future(b"%d" % n, timeout=DEADLINE) for n in range(200)]
    assert [c.result() for c in calls] == [b"unary:%d" % n for n in range(200)]


def error_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call succeeded")


main(*sys.argv[1:])
