"""The ops that TF Serving does not have."""

from tensorflow.core.protobuf import saved_model_pb2

from tf_textgen.export.self_check import foreign_ops


def test_foreign_ops_are_found_in_all_functions(tmp_path):
    model = saved_model_pb2.SavedModel()
    graph = model.meta_graphs.add().graph_def
    for op in ("AddV2", "own_function", "MadeUpOp"):
        graph.node.add(name=op, op=op)
    function = graph.library.function.add()
    function.signature.name = "own_function"
    for op in ("StringSplit", "SentencepieceTokenizeOp", "EagerPyFunc", "OtherOp", "MadeUpOp"):
        function.node_def.add(name=op, op=op)
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
    assert foreign_ops(str(tmp_path)) == ["EagerPyFunc", "MadeUpOp", "OtherOp"]
