"""In-graph generation that knows no model and no text.

`loop.run` steps the model until the `advance` of a search has ended every row: `single_search`
keeps one hypothesis a row, picked greedily or by `sampling` behind the processors of `logits`, and
can pause; `beam_search` keeps W of them. `parameters` holds what each row asks for, `stopping` when
it ends, `state` what the loop carries. TensorFlow-free: `decoding_config`.
"""
