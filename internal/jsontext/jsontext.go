// Package jsontext appends JSON strings as osquery's programs write them.
//
// It is pure: no state, no privilege, safe for concurrent use.
package jsontext

import "unicode/utf8"

// Append appends a text as a JSON string (RFC 8259, section 7) that escapes no
// more than it must, which is how RapidJSON writes it and so osqueryd's logs.
// Bytes that are no UTF-8 stay as they are.
func Append(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			dst = appendEscape(append(dst, s[start:i]...), rune(c))
			start = i + 1
		}
	}
	return append(append(dst, s[start:]...), '"')
}

// AppendVisible appends a text as a JSON string that may be shown: a terminal
// obeys DEL and the C1 controls, so they are escaped too. Invalid UTF-8 becomes
// U+FFFD, since JSON cannot hold it.
func AppendVisible(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < 0x7f {
			i++
			continue
		}
		size, r := 1, rune(c)
		if c >= utf8.RuneSelf {
			r, size = utf8.DecodeRuneInString(s[i:])
			if r >= 0xa0 && !(r == utf8.RuneError && size == 1) {
				i += size
				continue
			}
		}
		dst = appendEscape(append(dst, s[start:i]...), r)
		i += size
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

// appendEscape escapes a character of the basic multilingual plane.
func appendEscape(dst []byte, r rune) []byte {
	switch r {
	case '"', '\\':
		return append(dst, '\\', byte(r))
	case '\b':
		return append(dst, `\b`...)
	case '\f':
		return append(dst, `\f`...)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	const digits = "0123456789ABCDEF"
	return append(dst, '\\', 'u', digits[r>>12&0xf], digits[r>>8&0xf], digits[r>>4&0xf], digits[r&0xf])
}
