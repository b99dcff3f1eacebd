// Package sqltext takes SQL apart as far as tools for people need it:
// completion, hints, the terms of a WHERE clause. It checks nothing; what is
// wrong, SQLite says.
//
// It is pure: no state, no privilege, safe for concurrent use.
package sqltext

import (
	"strings"
	"unicode/utf8"
)

// A Token is a word, a quoted name, a string or a single character of SQL.
type Token struct {
	Text       string // without quotes
	Start, End int    // position in the text, in bytes
	Quoted     bool   // it is a string
	Open       bool   // it is a string or a comment that does not end
}

// Tokenize splits SQL far enough to find its tables; comments are left out.
func Tokenize(sql string) []Token {
	var tokens []Token
	for i := 0; i < len(sql); {
		start := i
		switch ch := sql[i]; {
		case isSpace(ch):
			i++
		case strings.HasPrefix(sql[i:], "--"):
			end := strings.IndexByte(sql[i:], '\n')
			if end < 0 {
				return append(tokens, Token{Start: start, End: len(sql), Open: true})
			}
			i += end
		case strings.HasPrefix(sql[i:], "/*"):
			end := strings.Index(sql[i+2:], "*/")
			if end < 0 {
				return append(tokens, Token{Start: start, End: len(sql), Open: true})
			}
			i += end + 4
		case ch == '\'' || ch == '"' || ch == '`':
			i++
			for i < len(sql) && (sql[i] != ch || i+1 < len(sql) && sql[i+1] == ch) {
				if sql[i] == ch {
					i++
				}
				i++
			}
			if i >= len(sql) {
				return append(tokens, Token{Text: sql[start+1:], Start: start, End: len(sql), Quoted: ch == '\'', Open: true})
			}
			i++
			tokens = append(tokens, Token{Text: sql[start+1 : i-1], Start: start, End: i, Quoted: ch == '\''})
		case IsWordByte(ch):
			for i < len(sql) && IsWordByte(sql[i]) {
				i++
			}
			tokens = append(tokens, Token{Text: sql[start:i], Start: start, End: i})
		default:
			i++
			tokens = append(tokens, Token{Text: sql[start:i], Start: start, End: i})
		}
	}
	return tokens
}

// Statements splits SQL at its semicolons, and leaves out what holds nothing but
// spaces and comments. The body of a trigger is not kept together.
func Statements(sql string) []string {
	var statements []string
	begin, empty := 0, true
	end := func(at int) {
		if !empty {
			statements = append(statements, strings.TrimSpace(sql[begin:at]))
		}
		empty = true
	}
	for _, k := range Tokenize(sql) {
		switch {
		case k.Text == ";" && k.End == k.Start+1:
			end(k.Start)
			begin = k.End
		case !k.Open || k.Text != "":
			empty = false
		}
	}
	end(len(sql))
	return statements
}

// IsWordByte reports whether a byte may stand in a name or a number that needs no
// quotes.
func IsWordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }
