"""An OTLP peer that is not minicol's: Python's own Protobuf classes, grpcio, and the standard library's HTTP.

otlp_peer.py relay GRPC_IN HTTP_IN OUT EXPORTER
otlp_peer.py print OUT EXPORTER COUNT

`print` serves OTLP on the port OUT, and prints the first COUNT requests of metrics that arrive, in the words of minicol's exporter `debug` (verbosity: detailed), each
before a line of `=`: what minicol makes itself is then compared as text.

`relay` serves OTLP on the port OUT (gRPC for the exporter `otlp`, HTTP for the others), sends every signal to minicol by gRPC and by HTTP, in Protobuf and in JSON, plain and by gzip,
and compares, field by field, what comes out with what was sent. Doubles that are no finite number are among it. Exit 0 where all is equal.
"""

import base64
import datetime
import decimal
import difflib
import gzip
import http.server
import json
import math
import queue
import random
import sys
import threading
import urllib.error
import urllib.request
from concurrent import futures

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs, logs_service_pb2_grpc as logs_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics, metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces, trace_service_pb2_grpc as traces_grpc

SIGNALS = {
    "metrics": (metrics.ExportMetricsServiceRequest, metrics.ExportMetricsServiceResponse, metrics_grpc.MetricsServiceStub),
    "logs": (logs.ExportLogsServiceRequest, logs.ExportLogsServiceResponse, logs_grpc.LogsServiceStub),
    "traces": (traces.ExportTraceServiceRequest, traces.ExportTraceServiceResponse, traces_grpc.TraceServiceStub),
}
BYTES_OF = {"trace_id": 16, "span_id": 8, "parent_span_id": 8}
arrived = queue.Queue()


# A reference into the tables that profiles have; in other signals it must not be.
OF_PROFILES = "string_value_strindex"


def fill(message, choose, depth=0):
    """Sets every field of a message; of a choice (oneof) a random one."""
    names = {oneof.name: [one.name for one in oneof.fields if one.name != OF_PROFILES] for oneof in message.DESCRIPTOR.oneofs}
    taken = {oneof: choose.choice(fields) for oneof, fields in names.items() if len(fields) > 1}
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if oneof is not None and len(oneof.fields) > 1 and taken[oneof.name] != field.name:
            continue
        if field.message_type is not None and depth > 12:
            continue
        if field.is_repeated if hasattr(field, "is_repeated") else field.label == FieldDescriptor.LABEL_REPEATED:
            many = getattr(message, field.name)
            for _ in range(2 if depth < 8 else 1):
                if field.message_type is not None:
                    fill(many.add(), choose, depth + 1)
                else:
                    many.append(scalar(field, choose))
        elif field.message_type is not None:
            one = getattr(message, field.name)
            one.SetInParent()
            fill(one, choose, depth + 1)
        else:
            setattr(message, field.name, scalar(field, choose))


def scalar(field, choose):
    kinds = FieldDescriptor
    if field.type == kinds.TYPE_STRING:
        return "text \u00e9 " + str(choose.randrange(1000))
    if field.type == kinds.TYPE_BYTES:
        return choose.randbytes(BYTES_OF.get(field.name, 5))
    if field.type == kinds.TYPE_BOOL:
        return True
    if field.type in (kinds.TYPE_DOUBLE, kinds.TYPE_FLOAT):
        return choose.choice([choose.uniform(-1e6, 1e6), choose.uniform(-1, 1), math.inf, -math.inf, math.nan])
    if field.type == kinds.TYPE_ENUM:
        return choose.choice([value.number for value in field.enum_type.values if value.number])
    if field.type in (kinds.TYPE_INT64, kinds.TYPE_SINT64, kinds.TYPE_SFIXED64):
        return choose.randrange(-(2**63), 2**63)
    if field.type in (kinds.TYPE_UINT64, kinds.TYPE_FIXED64):
        return choose.randrange(1, 2**64)
    if field.type in (kinds.TYPE_INT32, kinds.TYPE_SINT32, kinds.TYPE_SFIXED32):
        return choose.randrange(-(2**31), 2**31)
    return choose.randrange(1, 2**32)


def fields(message):
    """How many scalar fields are set, at any depth."""
    count = 0
    for field, value in message.ListFields():
        for one in value if hasattr(value, "append") or hasattr(value, "add") else [value]:
            count += fields(one) if field.message_type is not None else 1
    return count


def mend(node, an_id):
    """OTLP's JSON writes ids in hexadecimal where Protobuf's writes base64."""
    if isinstance(node, dict):
        ids = ("traceId", "spanId", "parentSpanId")
        return {key: an_id(value) if key in ids else mend(value, an_id) for key, value in node.items()}
    return [mend(one, an_id) for one in node] if isinstance(node, list) else node


def from_otlp_json(text, request):
    return json_format.ParseDict(mend(json.loads(text), lambda value: base64.b64encode(bytes.fromhex(value)).decode()), request())


def to_otlp_json(message):
    tree = json_format.MessageToDict(message, use_integers_for_enums=True)
    return json.dumps(mend(tree, lambda value: base64.b64decode(value).hex())).encode()


def same(one, other):
    """Equal in every field; NaN is unequal to itself, but its bytes are not."""
    return one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


def serve_grpc(port):
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", 64 << 20)])
    for signal, (request, response, stub) in SIGNALS.items():
        def handle(got, _, signal=signal, response=response):
            arrived.put((signal, got))
            return response()
        names = {"metrics": "metrics.v1.MetricsService", "logs": "logs.v1.LogsService", "traces": "trace.v1.TraceService"}
        method = grpc.unary_unary_rpc_method_handler(
            handle, request_deserializer=request.FromString, response_serializer=response.SerializeToString
        )
        service = "opentelemetry.proto.collector." + names[signal]
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {"Export": method})])
    assert server.add_insecure_port(f"127.0.0.1:{port}") == port
    server.start()
    return server


class Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        signal = self.path.rsplit("/", 1)[1]
        request, response, _ = SIGNALS[signal]
        kind = self.headers["content-type"]
        got = from_otlp_json(body, request) if kind == "application/json" else request.FromString(body)
        arrived.put((signal, got))
        answer = b"{}" if kind == "application/json" else response().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def send_http(port, signal, message, packed, in_json):
    body = to_otlp_json(message) if in_json else message.SerializeToString()
    headers = {"content-type": "application/json" if in_json else "application/x-protobuf"}
    if packed:
        body, headers["content-encoding"] = gzip.compress(body), "gzip"
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/{signal}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 200, answer.status
    except urllib.error.HTTPError as refused:
        raise AssertionError(f"{signal} is refused: {refused} {refused.read()[:500]}") from refused


def number(value):
    """A double as minicol writes it: shortest, without an exponent."""
    if not math.isfinite(value):
        return {math.inf: "inf", -math.inf: "-inf"}.get(value, "NaN")
    text = format(decimal.Decimal(repr(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def moment(nanos):
    if nanos == 0:
        return "unset"
    seconds, rest = divmod(nanos, 10**9)
    at = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return at + (f".{rest:09d}".rstrip("0") if rest else "") + "Z"


def attributes(pairs):
    def text(value):
        kind = value.WhichOneof("value")
        held = getattr(value, kind)
        return number(held) if kind == "double_value" else str(held).lower() if kind == "bool_value" else str(held)

    return sorted((pair.key, text(pair.value)) for pair in pairs)


def kind_of(metric):
    data = metric.WhichOneof("data")
    if data == "gauge":
        return data, metric.gauge.data_points
    of = getattr(metric, data)
    name = ("counter" if of.is_monotonic else "updowncounter") if data == "sum" else data
    temporality = {1: "delta", 2: "cumulative"}.get(of.aggregation_temporality, "of unspecified temporality")
    return f"{name} ({temporality})", of.data_points


def value(point):
    optional = lambda field: number(getattr(point, field)) if point.HasField(field) else "not told"
    kind = type(point).__name__
    if kind == "NumberDataPoint":
        held = point.WhichOneof("value")
        if held is None:
            return
        yield f"value: {point.as_int} (int)" if held == "as_int" else f"value: {number(point.as_double)} (double)"
        return
    yield f"count: {point.count}, sum: {optional('sum')}, min: {optional('min')}, max: {optional('max')}"
    if kind == "HistogramDataPoint":
        for index, counted in enumerate(point.bucket_counts):
            inside = index < len(point.explicit_bounds)
            yield f"bucket up to {number(point.explicit_bounds[index]) if inside else '+Inf'}: {counted}"
    else:
        yield f"scale: {point.scale}, zero: {point.zero_count}"
        for sign in ("positive", "negative"):
            buckets = getattr(point, sign)
            yield f"{sign} from {buckets.offset}: {list(buckets.bucket_counts)}"


def detailed(request):
    """A request in the words of the exporter `debug`."""
    count = lambda number, of: f"1 {of}" if number == 1 else f"{number} {of}s"
    every = [metric for one in request.resource_metrics for scope in one.scope_metrics for metric in scope.metrics]
    yield f"metrics: {count(sum(len(kind_of(one)[1]) for one in every), 'data point')} of {count(len(every), 'metric')}"
    for one in request.resource_metrics:
        yield "resource"
        for name, held in attributes(one.resource.attributes):
            yield f"  {name}: {held}"
        for scope in one.scope_metrics:
            for metric in scope.metrics:
                kind, points = kind_of(metric)
                yield f"metric {metric.name}"
                yield f"  scope: {scope.scope.name}"
                yield f"  type: {kind}"
                yield f"  unit: {metric.unit}"
                yield f"  description: {metric.description}"
                for point in points:
                    yield "  point {" + " ".join(f"{name}={held}" for name, held in attributes(point.attributes)) + "}"
                    yield f"    start: {moment(point.start_time_unix_nano)}"
                    yield f"    time: {moment(point.time_unix_nano)}"
                    yield f"    flags: {'no recorded value' if point.flags & 1 else 'none'}"
                    yield from ("    " + line for line in value(point))


def serve(out, exporter):
    if exporter == "otlp":
        return serve_grpc(out)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", out), Http)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def show(out, exporter, wanted):
    server = serve(out, exporter)  # as long as it is held
    for _ in range(wanted):
        signal, got = arrived.get(timeout=60)
        assert signal == "metrics", signal
        print(*detailed(got), "=====", sep="\n", flush=True)
    return 0


def relay(grpc_in, http_in, out, exporter):
    server = serve(out, exporter)  # as long as it is held
    channel = grpc.insecure_channel(f"127.0.0.1:{grpc_in}")
    messages = compared = 0
    for seed in range(12):
        for signal, (request, _, stub) in SIGNALS.items():
            message = request()
            fill(message, random.Random(f"{seed} {signal}"))
            if seed % 6 < 2:
                packed = grpc.Compression.Gzip if seed % 2 else grpc.Compression.NoCompression
                stub(channel).Export(message, timeout=20, compression=packed)
            else:
                send_http(http_in, signal, message, seed % 2 == 1, seed % 6 > 3)
            name, got = arrived.get(timeout=20)
            if name != signal or not same(got, message):
                lines = difflib.unified_diff(str(message).splitlines(), str(got).splitlines(), "sent", "arrived", lineterm="")
                print(f"{signal} (seed {seed}) differs, arrived as {name}:", *lines, sep="\n")
                return 1
            messages, compared = messages + 1, compared + fields(got)
    print(f"{messages} messages, {compared} fields: equal")
    return 0


if __name__ == "__main__":
    mode, *given = sys.argv[1:]
    code = relay(*map(int, given[:3]), given[3]) if mode == "relay" else show(int(given[0]), given[1], int(given[2]))
    sys.stdout.flush()
    import os
    os._exit(code)
