"""Partials: the newest revision wins, whichever socket or instance it came through."""

from server.partials import UTTERANCES, Newest


def test_an_older_revision_is_not_news_and_an_equal_one_is() -> None:
    newest = Newest()
    assert [newest.admits("u", revision) for revision in (3, 2, 3, 4)] == [True, False, True, True]
    assert newest.admits("v", 0)
    assert not newest.admits("u", 1)


def test_what_was_recorded_is_heard_no_more() -> None:
    newest = Newest()
    assert newest.admits("u", 1)
    assert not newest.closed("u")
    newest.close("u", 1)
    assert newest.closed("u")
    assert not newest.admits("u", 2)
    newest.close("w", 1)
    assert not newest.admits("w", 0)


def test_it_remembers_the_utterances_that_were_heard_last() -> None:
    newest = Newest()
    for number in range(UTTERANCES):
        assert newest.admits(f"u{number}", 5)
    newest.close("u0", 1)  # it was the oldest
    assert newest.admits("one more", 0)
    assert not newest.admits("u0", 9)
    assert newest.admits("u1", 0), "forgotten"
    assert len(newest) == UTTERANCES


def test_the_next_answer_may_use_the_same_names() -> None:
    newest = Newest()
    newest.begin(2)
    newest.close("u", 2)
    newest.begin(2)
    assert not newest.admits("u", 0)
    newest.begin(4)
    assert newest.admits("u", 0)
    newest.admits("u", 5)
    newest.begin(2)  # told late
    assert not newest.admits("u", 1)


def test_who_catches_up_closes_nothing_of_the_answer_that_is_open() -> None:
    newest = Newest()
    newest.begin(6)
    assert newest.admits("u", 0)
    newest.close("u", 4)  # sent again to a socket that was away
    assert newest.admits("u", 1)
    newest.close("u", 6)
    assert not newest.admits("u", 2)
