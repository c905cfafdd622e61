"""The REST interface of TF Serving: status, metadata and predict.

Reference: TensorFlow Serving, RESTful API (tensorflow.org/tfx/serving/api_rest).
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from tf_textgen.server.json_tensors import Specs, parse_object, parse_request, to_answer, to_json
from tf_textgen.server.request_context import Exchange
from tf_textgen.server.request_error import RequestError
from tf_textgen.server.served_model import ServedModel


async def status(exchange: Exchange, name: str, version: str | None) -> Response:
    """The states of the versions."""
    if name != exchange.model.name:
        raise RequestError(404, f"Could not find any versions of model {name[:80]}")
    return json_response(exchange.model.status(_number(version)))


async def metadata(exchange: Exchange, name: str, version: str | None) -> Response:
    """The signatures."""
    _check_name(exchange.model, name, version)
    with exchange.model.lease(_number(version)) as served:
        spec = {"name": name, "signature_name": "", "version": str(served.number)}
        signatures: dict[str, Any] = {
            "signature_def": {"signature_def": served.loaded.signature_defs}
        }
    return json_response({"model_spec": spec, "metadata": signatures})


async def predict(exchange: Exchange, name: str, version: str | None) -> Response:
    """Rows answered by a signature."""
    _check_name(exchange.model, name, version)
    document = parse_object(await exchange.body())
    with exchange.model.lease(_number(version)) as served:

        def inputs_of(signature: str) -> Specs:
            specs = served.loaded.inputs(signature)
            exchange.record.signature = signature  # a known one, also if its inputs are refused
            return specs

        wanted = parse_request(document, inputs_of)
        outputs = await exchange.ask(served, wanted.signature_name, wanted.inputs)
    return json_response(to_answer(outputs, wanted.row_form))


def error_body(error: RequestError) -> dict[str, Any]:
    """TF Serving's form of an error."""
    return {"error": error.message}


def json_response(value: Any, code: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer that is JSON."""
    return Response(to_json(value), code, headers, "application/json")


def _number(version: str | None) -> int | None:
    return None if version is None else int(version)


def _check_name(model: ServedModel, name: str, version: str | None) -> None:
    if name != model.name:
        asked = f"Latest({name[:80]})" if version is None else f"Specific({name[:80]}, {version})"
        raise RequestError(404, f"Servable not found for request: {asked}")
