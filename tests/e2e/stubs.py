"""A foreign client: python's grpcio with stubs that protoc makes from our proto files."""
import importlib
import os
import pathlib
import subprocess
import sys
import tempfile
import uuid

import grpc

SOURCE = pathlib.Path(__file__).resolve().parents[2]


def load():
    """Generates and imports the messages; returns the module of sync_service and of types."""
    out = tempfile.mkdtemp(prefix="ptdoc-stubs-")
    protoc = os.environ.get("PTDOC_PROTOC", "protoc")
    files = sorted(str(p.relative_to(SOURCE / "proto")) for p in
                   (SOURCE / "proto").rglob("*.proto"))
    files += ["google/rpc/error_details.proto"]
    subprocess.run([protoc, f"-I{SOURCE}/proto", f"-I{SOURCE}/proto-external",
                    f"--python_out={out}", *files], check=True)
    # google.rpc is generated beside the installed google package.
    import google
    google.__path__.append(f"{out}/google")
    sys.path.insert(0, out)
    return importlib.import_module("ptdoc.sync.v1.sync_service_pb2"), \
        importlib.import_module("ptdoc.sync.v1.types_pb2")


sync, types = load()


def value(thing):
    if thing is None:
        return types.Value(null=True)
    if isinstance(thing, bool) or isinstance(thing, int):
        return types.Value(integer=int(thing))
    if isinstance(thing, float):
        return types.Value(real=thing)
    if isinstance(thing, bytes):
        return types.Value(blob=thing)
    return types.Value(text=thing)


def new_batch_id():
    return str(uuid.uuid4())


def change(kind, entity_id, fields=None, operation="UPDATE", base=0, seconds=None, **more):
    message = types.Change(entity_type=kind, entity_id=entity_id, base_revision=base,
                           operation=getattr(types, f"OPERATION_{operation}"), **more)
    for name, thing in (fields or {}).items():
        message.fields[name].CopyFrom(value(thing))
    if seconds is not None:
        message.last_modified_utc.seconds = seconds
    return message


class Client:
    """One channel to the service with one token."""

    def __init__(self, port, token=None):
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.metadata = [("authorization", f"Bearer {token}")] if token else []
        path = "/ptdoc.sync.v1.SyncService/"
        self._run = self.channel.unary_unary(
            path + "Run", sync.RunRequest.SerializeToString, sync.RunResponse.FromString)
        self._status = self.channel.unary_unary(
            path + "Status", sync.StatusRequest.SerializeToString,
            sync.StatusResponse.FromString)
        self._pull = self.channel.unary_stream(
            path + "Pull", sync.PullRequest.SerializeToString, sync.PullResponse.FromString)
        self._push = self.channel.stream_stream(
            path + "Push", sync.PushRequest.SerializeToString, sync.PushResponse.FromString)

    def close(self):
        self.channel.close()

    def run(self, *changes, batch_id=None, **more):
        request = sync.RunRequest(batch_id=batch_id or new_batch_id(), changes=changes, **more)
        return self._run(request, metadata=self.metadata, timeout=30)

    def status(self):
        return self._status(sync.StatusRequest(), metadata=self.metadata, timeout=30)

    def pull(self, timeout=30, **request):
        return self._pull(sync.PullRequest(**request), metadata=self.metadata, timeout=timeout)

    def push(self, *requests):
        return list(self._push(iter(requests), metadata=self.metadata, timeout=30))


def reason_of(error):
    """The ErrorInfo reason of a grpc.RpcError, or None."""
    details = importlib.import_module("google.rpc.error_details_pb2")
    for key, data in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = details.Status.FromString(data)
            for item in status.details:
                info = details.ErrorInfo()
                if item.Is(info.DESCRIPTOR):
                    item.Unpack(info)
                    return info.reason
    return None
