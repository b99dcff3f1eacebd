package render

import (
	"strings"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"

	"sockql/tables"
)

// escaping tells what of a cell's text is replaced by an escape: \x1b, \n,
// \u202e.
type escaping uint8

const (
	// plain replaces nothing.
	plain escaping = iota
	// escapeControl replaces invalid UTF-8 and all control characters but
	// newline and tab, C1 and those that turn the writing direction included
	// (ECMA-48; Unicode Standard Annex #9): what steers a terminal or shows
	// something else than it is.
	escapeControl
	// escapeAll replaces newline and tab too, so that rows stay rows.
	escapeAll
)

const hexDigits = "0123456789abcdef"

// append appends s to dst with its escapes.
func (e escaping) append(dst []byte, s string) []byte {
	if e == plain {
		return append(dst, s...)
	}
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f || e == escapeControl && (c == '\n' || c == '\t') {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if c >= utf8.RuneSelf && !(r == utf8.RuneError && size == 1) && !steers(r) {
			i += size
			continue
		}
		dst = append(dst, s[start:i]...)
		switch {
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		case c < utf8.RuneSelf || r == utf8.RuneError && size == 1:
			dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&0xf])
		default:
			dst = append(dst, '\\', 'u', hexDigits[r>>12&0xf], hexDigits[r>>8&0xf], hexDigits[r>>4&0xf], hexDigits[r&0xf])
		}
		i += size
		start = i
	}
	return append(dst, s[start:]...)
}

// steers reports whether a character beyond ASCII controls a terminal or the
// writing direction.
func steers(r rune) bool {
	return r >= 0x80 && r < 0xa0 ||
		r == 0x061c || r == 0x200e || r == 0x200f ||
		r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// value appends the text of a cell, null for NULL.
func (e escaping) value(dst []byte, v tables.Value, null []byte) []byte {
	if s, ok := v.Literal(); ok {
		return e.append(dst, s)
	}
	if v.IsNull() {
		return append(dst, null...)
	}
	return v.Append(dst) // digits or an address
}

// Escape returns s with everything replaced that could steer a terminal,
// newline and tab included.
func Escape(s string) string { return string(escapeAll.append(nil, s)) }

// EscapeLines is [Escape] for text of several lines: newline and tab stay.
func EscapeLines(s string) string { return string(escapeControl.append(nil, s)) }

// codePoints counts the characters of a text as osqueryi does, every byte that
// continues none.
func codePoints(s []byte) int {
	n := 0
	for _, c := range s {
		if c&0xc0 != 0x80 {
			n++
		}
	}
	return n
}

// displayWidth returns how many cells of a terminal a text takes.
func displayWidth(s []byte) int {
	for _, c := range s {
		if c >= utf8.RuneSelf {
			return runewidth.StringWidth(string(s))
		}
	}
	return len(s)
}

// width returns the function that measures text for where it goes.
func (o *Options) width() func([]byte) int {
	if o.Terminal {
		return displayWidth
	}
	return codePoints
}

const (
	dashes = "--------------------------------------------------------------------------------"
	blanks = "                                                                                "
)

// repeat appends n bytes of a run of equal ones.
func repeat(dst []byte, run string, n int) []byte {
	for n > len(run) {
		dst = append(dst, run...)
		n -= len(run)
	}
	if n > 0 {
		dst = append(dst, run[:n]...)
	}
	return dst
}

// uniqueNames returns, for each column, the position of the last one of the
// same name: osqueryi keeps a row as a map from names to values.
func uniqueNames(names []string) []int {
	last := make(map[string]int, len(names))
	for i, n := range names {
		last[n] = i
	}
	source := make([]int, len(names))
	for i, n := range names {
		source[i] = last[n]
	}
	return source
}

func cutAtNUL(s string) string {
	if i := strings.IndexByte(s, 0); i >= 0 {
		return s[:i]
	}
	return s
}
