"""The frame of the pages: well formed, readable, quiet on the network, and no way in for HTML from outside."""

import pytest
from pages import Page

from minires.page import COLOURS, document, is_made_by, table


def luminance(colour):
    """Relative luminance of WCAG 2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return sum(
        w * (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
        for w, c in zip((0.2126, 0.7152, 0.0722), parts)
    )


@pytest.mark.parametrize("scheme", COLOURS)
def test_text_stands_out_from_every_ground_it_is_on(scheme):
    colours = {name: luminance(colour) for name, colour in COLOURS[scheme].items()}
    pairs = [("ink", ground) for ground in ("paper", "bad", "good", "forward", "backward")]
    for text, ground in [*pairs, ("faint", "paper"), ("link", "paper"), ("link", "bad")]:
        darker, lighter = sorted((colours[text], colours[ground]))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, ground)


def test_a_page_is_whole_in_itself_and_escapes_what_it_is_given(tmp_path):
    evil = '<script>alert(1)</script>"><img src=x>'
    body = f"<h1>one</h1>{table(evil, ['a', evil], [[evil, evil], ['x', '2']], bad=[1])}"
    text = document(evil, body, "minires test")
    page = Page(text).check()
    assert page.tables == {evil: [["a", evil], [evil, evil], ["x", "2"]]} and not page.images
    assert '<html lang="en">' in text and 'name="viewport"' in text and "default-src 'none'" in text
    assert text.count('<tr class="bad">') == 1
    (tmp_path / "page.html").write_text(text)
    assert is_made_by("minires test", tmp_path / "page.html")
    assert not is_made_by("minires other", tmp_path / "page.html")


def test_the_checker_of_pages_sees_what_is_wrong():
    for wrong in ("<p><b></p></b>", "<p>", '<p onclick="x">a</p>'):
        with pytest.raises(AssertionError):
            Page(f"<h1>a</h1>{wrong}")
    for wrong in (
        "<h3>b</h3>",
        '<img src="http://x/y.png" alt="a">',
        '<img src="data:image/png;a" alt="">',
        "<h1>b</h1>",
    ):
        with pytest.raises(AssertionError):
            Page(f"<h1>a</h1>{wrong}").check()
