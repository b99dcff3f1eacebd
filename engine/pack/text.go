package pack

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// A Position is a place in a file. Line and Column count from 1, columns in
// bytes.
type Position struct {
	File         string
	Line, Column int
}

// String returns the position as compilers write it.
func (p Position) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// A SyntaxError says where a file stops being JSON.
type SyntaxError struct {
	Position
	Err error
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("pack: parse: %s: %v", e.Position, e.Err) }

// Unwrap returns Err.
func (e *SyntaxError) Unwrap() error { return e.Err }

// A source is the text of a file without what JSON does not know, and with the
// way back to places in the file.
type source struct {
	file  string
	text  []byte // as read
	clean []byte
	cuts  []cut
}

// A cut says that from a place in the clean text on, the file is so many bytes
// ahead.
type cut struct{ at, ahead int }

// newSource takes comments and continued lines out, as osquery does
// (stripConfigComments in osquery/config/config.cpp): a backslash directly
// before a line's end joins two lines, and then a line that begins with # or
// // is a comment.
func newSource(file string, text []byte) *source {
	s := &source{file: file, text: text}
	blank := true // nothing but white space on this line so far
	for i := 0; i < len(text); i++ {
		rest := text[i:]
		switch n := continuation(rest); {
		case n > 0:
			i += n - 1
			s.cut(i + 1)
			continue
		case blank && (rest[0] == '#' || bytes.HasPrefix(rest, []byte("//"))):
			for i < len(text) && text[i] != '\n' {
				// A continued line continues the comment.
				i += max(continuation(text[i:]), 1)
			}
			s.cut(i)
			if i == len(text) {
				return s
			}
		}
		c := text[i]
		blank = c == '\n' || blank && (c == ' ' || c == '\t' || c == '\r')
		s.clean = append(s.clean, c)
	}
	return s
}

// continuation returns the length of a backslash with the end of its line.
func continuation(text []byte) int {
	switch {
	case bytes.HasPrefix(text, []byte("\\\n")):
		return 2
	case bytes.HasPrefix(text, []byte("\\\r\n")):
		return 3
	}
	return 0
}

func (s *source) cut(next int) {
	s.cuts = append(s.cuts, cut{at: len(s.clean), ahead: next - len(s.clean)})
}

// position returns the place in the file of an offset in the clean text.
func (s *source) position(offset int) Position {
	i, found := slices.BinarySearchFunc(s.cuts, offset, func(c cut, offset int) int { return cmp.Compare(c.at, offset) })
	for found && i+1 < len(s.cuts) && s.cuts[i+1].at == offset {
		i++
	}
	if !found {
		i--
	}
	if i >= 0 {
		offset += s.cuts[i].ahead
	}
	before := s.text[:min(offset, len(s.text))]
	return Position{
		File:   s.file,
		Line:   bytes.Count(before, []byte("\n")) + 1,
		Column: len(before) - bytes.LastIndexByte(before, '\n'),
	}
}

// Limits of a file, which osquery has too: its parser must not be driven out
// of memory.
const (
	maxFile  = 4 << 20
	maxDepth = 32
)

// A node is a value of a JSON text that knows its place. Objects keep the order
// of their members, in which osquery runs packs.
type node struct {
	kind    byte // one of { [ s n b 0: object, array, string, number, bool, null
	at      int
	text    string // of a string or number
	truth   bool
	members []member
	items   []node
}

type member struct {
	name string
	at   int
	node node
}

// parse returns the tree of a text that must be one object.
func (s *source) parse() (node, error) {
	if len(s.clean) > maxFile {
		return node{}, fmt.Errorf("pack: parse: %s: %d bytes are more than the limit of %d", s.file, len(s.clean), maxFile)
	}
	var raw json.RawMessage
	if err := json.Unmarshal(s.clean, &raw); err != nil {
		at := len(s.clean)
		var syntax *json.SyntaxError
		// Where the text ends too early, the offset is that of its last byte.
		if errors.As(err, &syntax) && syntax.Error() != "unexpected end of JSON input" {
			at = int(syntax.Offset) - 1
		}
		return node{}, &SyntaxError{Position: s.position(at), Err: err}
	}
	p := parser{source: s, tokens: json.NewDecoder(bytes.NewReader(s.clean))}
	p.tokens.UseNumber()
	n, err := p.value(0)
	if err == nil && n.kind != '{' {
		err = &SyntaxError{Position: s.position(n.at), Err: errors.New("the text is not an object")}
	}
	return n, err
}

type parser struct {
	source *source
	tokens *json.Decoder
}

func (p *parser) next() (json.Token, int, error) {
	at := int(p.tokens.InputOffset())
	for at < len(p.source.clean) && bytes.IndexByte([]byte(" \t\r\n,:"), p.source.clean[at]) >= 0 {
		at++
	}
	t, err := p.tokens.Token()
	if err != nil {
		err = &SyntaxError{Position: p.source.position(at), Err: err}
	}
	return t, at, err
}

func (p *parser) value(depth int) (node, error) {
	t, at, err := p.next()
	if err != nil {
		return node{}, err
	}
	if depth > maxDepth {
		return node{}, &SyntaxError{Position: p.source.position(at), Err: fmt.Errorf("more than %d levels", maxDepth)}
	}
	n := node{at: at}
	switch t := t.(type) {
	case json.Delim:
		n.kind = byte(t)
		for p.tokens.More() {
			var m member
			if n.kind == '{' {
				name, at, err := p.next()
				if err != nil {
					return node{}, err
				}
				m.name, _ = name.(string)
				m.at = at
			}
			if m.node, err = p.value(depth + 1); err != nil {
				return node{}, err
			}
			if n.kind == '{' {
				n.members = append(n.members, m)
			} else {
				n.items = append(n.items, m.node)
			}
		}
		_, _, err = p.next()
	case string:
		n.kind, n.text = 's', t
	case json.Number:
		n.kind, n.text = 'n', t.String()
	case bool:
		n.kind, n.truth = 'b', t
	}
	return n, err
}

// get returns the first member of a name, as osquery's parser does.
func (n *node) get(name string) (*node, bool) {
	for i := range n.members {
		if n.members[i].name == name {
			return &n.members[i].node, true
		}
	}
	return nil, false
}
