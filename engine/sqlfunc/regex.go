package sqlfunc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dlclark/regexp2/v2"

	"sockql/tables"
)

func regexFunctions() []Function {
	const doc = " The pattern is an ECMAScript regular expression as C++ has it, of at most 256 bytes: it matches bytes and knows no letters but those of ASCII. A pattern that is none, or that takes more than half a second, is an error."
	return []Function{
		{
			Name: "regex_match", Args: []int{3}, Deterministic: true, Eval: regexMatch,
			Doc: "regex_match(text, pattern, index) returns what the group at index captured in the first match of the pattern, 0 being the whole match, and the empty text for a group that took no part. NULL if nothing matches, there is no such group, or an argument is NULL. Behind the last character of a text that is not empty, an empty match does not count." + doc,
		},
		{
			Name: "regex_split", Args: []int{3}, Deterministic: true, Eval: regexSplit,
			Doc: "regex_split(text, pattern, index) cuts text at each match of the pattern and returns the piece at index, counted from 0. NULL beyond the last piece, for a negative index, or if an argument is NULL. Empty pieces count, except at the end. A character behind an empty match belongs to no piece. An empty pattern is an error." + doc,
		},
	}
}

const (
	// maxPattern is the default of osquery's flag regex_max_size, in bytes.
	maxPattern = 256
	// regexTime is what one call may take.
	regexTime = 500 * time.Millisecond
	// regexStack bounds the memory of one match: 8 bytes each.
	regexStack = 2 << 20
	// regexCached is the number of compiled patterns that a connection keeps.
	regexCached = 64
)

// errRegex is osquery's text for every pattern that std::regex refuses, and for
// the matches that it gives up.
const errRegex = osqueryError("Invalid regex")

func regexMatch(ctx context.Context, c *Call, args []tables.Value) (tables.Value, error) {
	if anyNull(args) {
		return tables.Null(), nil
	}
	expr := text(args[1])
	if len(expr) > maxPattern {
		return tables.Null(), fmt.Errorf("%w: too big, max size is %d bytes", errRegex, maxPattern)
	}
	state := regexStateOf(c)
	re, err := state.compile(regexKey{expr: expr})
	if err != nil {
		return tables.Null(), err
	}
	s := state.search(ctx, text(args[0]))
	m, err := s.find(re, 0)
	index := int(integer32(args[2]))
	if err != nil || m == nil || index < 0 || index >= m.GroupCount() {
		return tables.Null(), err
	}
	g := m.GroupByNumber(index)
	return tables.String(narrow(s.text[g.RuneIndex : g.RuneIndex+g.RuneLength])), nil
}

func regexSplit(ctx context.Context, c *Call, args []tables.Value) (tables.Value, error) {
	if anyNull(args) {
		return tables.Null(), nil
	}
	expr := text(args[1])
	if expr == "" {
		return tables.Null(), errSplitInput
	}
	if len(expr) > maxPattern {
		return tables.Null(), errRegex
	}
	state := regexStateOf(c)
	re, err := state.compile(regexKey{expr: expr})
	if err != nil {
		return tables.Null(), err
	}
	s := state.search(ctx, text(args[0]))
	index := integer32(args[2])
	if index < 0 {
		return tables.Null(), nil
	}
	piece, found, err := s.piece(re, expr, int(index))
	if err != nil || !found {
		return tables.Null(), err
	}
	return tables.String(narrow(piece)), nil
}

// A search is one call's walk through a text.
type search struct {
	ctx      context.Context
	state    *regexState
	text     []rune
	deadline time.Time
}

// piece returns the piece at index, as a std::sregex_token_iterator of libc++
// counts them: what stands between the place where a search began and its
// match, and in the end what is left behind the last match unless it is empty.
func (s *search) piece(re *regexp2.Regexp, expr string, index int) (piece []rune, found bool, err error) {
	from := 0
	m, err := s.find(re, from)
	if err != nil {
		return nil, false, err
	}
	if m == nil {
		return s.text, index == 0, nil
	}
	for {
		if index == 0 {
			return s.text[from:m.RuneIndex], true, nil
		}
		index--
		behind := m.RuneIndex + m.RuneLength
		from = behind
		if m.RuneLength > 0 {
			m, err = s.find(re, from)
		} else if from == len(s.text) {
			return nil, false, nil
		} else {
			// Behind an empty match a match that is not empty may begin at
			// the same place; otherwise the search goes on one further.
			m, err = s.findHere(expr, from)
			if m == nil && err == nil {
				from++
				m, err = s.find(re, from)
			}
		}
		if err != nil {
			return nil, false, err
		}
		if m == nil {
			rest := s.text[behind:]
			return rest, index == 0 && len(rest) > 0, nil
		}
	}
}

// find returns the first match at or behind from. As in libc++ a search does
// not come to the end of the text, unless it begins there.
func (s *search) find(re *regexp2.Regexp, from int) (*regexp2.Match, error) {
	m, err := s.match(re, from)
	if m != nil && m.RuneIndex == len(s.text) && from < len(s.text) {
		return nil, err
	}
	return m, err
}

// findHere returns a match that begins at from and is not empty.
func (s *search) findHere(expr string, from int) (*regexp2.Match, error) {
	re, err := s.state.compile(regexKey{expr: expr, here: true})
	if err != nil {
		return nil, err
	}
	return s.match(re, from)
}

func (s *search) match(re *regexp2.Regexp, from int) (*regexp2.Match, error) {
	if s.ctx.Err() != nil {
		return nil, context.Cause(s.ctx)
	}
	left := time.Until(s.deadline)
	if left <= 0 {
		return nil, fmt.Errorf("%w: no result within %s", errRegex, regexTime)
	}
	re.MatchTimeout = left
	m, err := re.FindRunesMatchStartingAt(s.text, from)
	switch {
	case err == nil:
		return m, nil
	case errors.Is(err, regexp2.ErrBacktrackingStackLimit):
		return nil, fmt.Errorf("%w: too much to remember for this text", errRegex)
	}
	return nil, fmt.Errorf("%w: no result within %s", errRegex, regexTime)
}

// A regexKey is a pattern in the two ways in which it is compiled.
type regexKey struct {
	expr string
	here bool // to match where the search begins, and not the empty text
}

// A regexState is what a connection keeps for the patterns of a statement, in
// [Call.Cache].
type (
	regexState struct {
		compiled map[regexKey]*regexp2.Regexp // nil for what does not compile
		text     []rune                       // for the text of one call
	}
	regexStateKey struct{}
)

func regexStateOf(c *Call) *regexState {
	state, ok := c.Cache[regexStateKey{}].(*regexState)
	if !ok {
		state = &regexState{compiled: map[regexKey]*regexp2.Regexp{}}
		c.Cache[regexStateKey{}] = state
	}
	return state
}

func (s *regexState) compile(key regexKey) (*regexp2.Regexp, error) {
	re, found := s.compiled[key]
	if !found {
		key.expr = strings.Clone(key.expr) // an argument does not outlive its call
		re = newRegex(key)
		if len(s.compiled) >= regexCached {
			clear(s.compiled)
		}
		s.compiled[key] = re
	}
	if re == nil {
		return nil, errRegex
	}
	return re, nil
}

// search begins a call's walk through a text.
func (s *regexState) search(ctx context.Context, text string) search {
	s.text = widen(s.text[:0], text)
	return search{ctx: ctx, state: s, text: s.text, deadline: time.Now().Add(regexTime)}
}

func newRegex(key regexKey) *regexp2.Regexp {
	translated, err := translate(key.expr, key.here)
	if err != nil {
		return nil
	}
	options := regexp2.ECMAScript
	if key.here {
		// \G is where the search begins; the ECMAScript option has none.
		translated, options = `\G(?:`+translated+`)(?!\G)`, regexp2.None
	}
	re, err := regexp2.Compile(translated, options, regexp2.OptionMaxBacktrackingStackSize(regexStack))
	if err != nil {
		return nil
	}
	return re
}

// narrow returns the bytes that characters stand for; see [widen].
func narrow(runes []rune) string {
	b := make([]byte, len(runes))
	for i, r := range runes {
		b[i] = byte(r)
	}
	return string(b)
}
