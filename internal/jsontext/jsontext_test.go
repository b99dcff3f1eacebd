package jsontext

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppend(t *testing.T) {
	for _, test := range []struct{ text, plain, visible string }{
		{``, `""`, `""`},
		{`eth0`, `"eth0"`, `"eth0"`},
		{`a"b\c/d`, `"a\"b\\c/d"`, `"a\"b\\c/d"`},
		{"\b\f\n\r\t", `"\b\f\n\r\t"`, `"\b\f\n\r\t"`},
		{"\x00\x1b[2J\x1f", `"\u0000\u001B[2J\u001F"`, `"\u0000\u001B[2J\u001F"`},
		{"a\x7fb", "\"a\x7fb\"", `"a\u007Fb"`},
		{"a\u009bb", "\"a\u009bb\"", `"a\u009Bb"`},
		{"\u00a0é世😀\u2028", "\"\u00a0é世😀\u2028\"", "\"\u00a0é世😀\u2028\""},
		{"a\xffb\xe4\xb8", "\"a\xffb\xe4\xb8\"", `"a\uFFFDb\uFFFD\uFFFD"`},
		{"\ufffd", "\"\ufffd\"", "\"\ufffd\""},
	} {
		if got := string(Append([]byte("x"), test.text)); got != "x"+test.plain {
			t.Errorf("Append(%q) appends %s, want %s", test.text, got[1:], test.plain)
		}
		if got := string(AppendVisible([]byte("x"), test.text)); got != "x"+test.visible {
			t.Errorf("AppendVisible(%q) appends %s, want %s", test.text, got[1:], test.visible)
		}
	}
}

// FuzzAppend holds both forms to what encoding/json reads.
func FuzzAppend(f *testing.F) {
	for _, s := range []string{"", "a\"\\", "\x00\x1f\x7f", "\u0080\u009f\u00a0", "\xff\xfe", "😀", "\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for name, form := range map[string]func([]byte, string) []byte{"Append": Append, "AppendVisible": AppendVisible} {
			text := form(nil, s)
			var back string
			if err := json.Unmarshal(text, &back); err != nil {
				t.Fatalf("%s(%q) is %s: %v", name, s, text, err)
			}
			// Invalid bytes are replaced one by one.
			if want := string([]rune(s)); back != want {
				t.Errorf("%s(%q) reads back as %q, want %q", name, s, back, want)
			}
		}
		text := string(AppendVisible(nil, s))
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
			t.Errorf("AppendVisible(%q) is %q", s, text)
		}
	})
}
