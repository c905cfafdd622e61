"""Metrics as Prometheus reads them."""

from tf_textgen.server.server_metrics import Counter, Gauge, Histogram, exposition


def test_counters_and_gauges():
    counter = Counter("requests_total", "Requests.", ["path", "code"])
    counter.add("predict", "200")
    counter.add("predict", "200", amount=2)
    counter.add('a"b\\c\nd', "400")
    gauge = Gauge("queue", "Rows.", (), lambda: {(): 3})
    assert exposition([counter, gauge]) == (
        "# HELP requests_total Requests.\n"
        "# TYPE requests_total counter\n"
        'requests_total{path="a\\"b\\\\c\\nd",code="400"} 1\n'
        'requests_total{path="predict",code="200"} 3\n'
        "# HELP queue Rows.\n"
        "# TYPE queue gauge\n"
        "queue 3\n"
    )


def test_histograms_are_cumulative():
    histogram = Histogram("seconds", "Time.", ["path"], [0.1, 1])
    for value in (0.05, 0.1, 0.5, 4):
        histogram.observe("p", value=value)
    assert list(histogram.samples()) == [
        'seconds_bucket{path="p",le="0.1"} 2',
        'seconds_bucket{path="p",le="1"} 3',
        'seconds_bucket{path="p",le="+Inf"} 4',
        'seconds_sum{path="p"} 4.65',
        'seconds_count{path="p"} 4',
    ]
