"""In-graph generation that knows no model and no text.

`loop.decode` continues prompts: picking (`sampling`: greedy or inverse CDF, behind the processors of `logits`) times
searching (the `advance` function of `loop.run`: one
hypothesis a row in `loop`, W of them in `beam_search`). `parameters` holds what each row asks for,
`stopping` when it ends, `state` what the loop carries. TensorFlow-free: `decoding_config`.
"""
