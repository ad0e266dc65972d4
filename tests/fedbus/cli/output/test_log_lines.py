"""Log lines of services, as a user reads them."""

from fedbus.cli.output.log_lines import last_lines, parse_log

JOB = (
    '{"job": "first", "round": 4, "metrics": {"loss": 0.5}, "event": "round_finished", '
    '"node": "controller.1", "level": "info", "timestamp": "2026-11-29T09:28:33.976735Z"}'
)
LOST = (
    '{"reason": "the broker is away", "event": "bus_lost", "node": "controller.1", '
    '"level": "warning", "timestamp": "2026-11-29T09:28:34.100000Z"}'
)


def test_a_line_has_its_time_its_node_and_its_facts() -> None:
    """Only what is serious says how serious it is."""
    one, two = parse_log("controller.1", [JOB, LOST])
    assert one.format() == (
        '09:28:33.976  controller.1  round_finished  job=first  round=4  metrics={"loss": 0.5}'
    )
    assert two.format() == (
        "09:28:34.100  controller.1  WARNING  bus_lost  reason=the broker is away"
    )
    assert (one.text, two.text) == (JOB, LOST)


def test_what_is_no_line_of_ours_belongs_to_the_one_before() -> None:
    """A traceback stays where it was, and is as serious."""
    lines = list(
        parse_log("agent.1", ["first words", LOST, "Traceback", "[1, 2]", '{"a": 1}', "12"])
    )
    assert [line.format() for line in lines[2:]] == [
        "agent.1  Traceback",
        "agent.1  [1, 2]",
        'agent.1  {"a": 1}',
        "agent.1  12",
    ]
    assert [line.level for line in lines] == ["info", *["warning"] * 5]
    assert len({line.at for line in lines[1:]}) == 1


def test_lines_of_several_services_come_in_the_order_of_time() -> None:
    """The last ones, of at least a level; those of one moment stay together."""
    both = [*parse_log("agent.1", [LOST, "more"]), *parse_log("controller.1", [JOB])]
    assert [line.text for line in last_lines(both, 10, "info")] == [JOB, LOST, "more"]
    assert [line.text for line in last_lines(both, 1, "info")] == ["more"]
    assert [line.text for line in last_lines(both, 9, "warning")] == [LOST, "more"]
    assert last_lines(both, 0, "debug") == []


def test_an_unknown_level_is_serious() -> None:
    """`critical`, say."""
    (line,) = parse_log(
        "agent.1", ['{"event": "x", "level": "critical", "timestamp": "2026-11-29T09"}']
    )
    assert last_lines([line], 1, "error") == [line]
    assert line.format() == "09  agent.1  CRITICAL  x"
