package sqlfunc

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// errPattern says that std::regex would refuse a pattern.
var errPattern = errors.New("invalid pattern")

// A pattern is an ECMAScript regular expression as osquery's std::regex reads
// it (LLVM's libc++, https://en.cppreference.com/w/cpp/regex/ecmascript),
// written again for regexp2.
//
// Three things make the translation necessary. std::regex works on bytes and
// knows ASCII letters only, regexp2 on Unicode: each byte from 0x80 becomes a
// private-use character, see [widen], which no class of regexp2 contains.
// std::regex has POSIX classes within brackets: sets of bytes are worked out
// here. And it refuses much that regexp2 takes: look-behind, named groups,
// options, unknown escapes, a lone ] or }.
//
// Look-ahead follows the standard where libc++ does not: within it a
// back-reference counts the groups of the whole pattern, and \b sees the
// character before.
type pattern struct {
	in     string
	out    strings.Builder
	groups int  // capturing groups opened so far
	again  bool // not the first search in the text: ^ never matches
}

// translate returns the pattern for regexp2. It means the same with and without
// the ECMAScript option, except that with it a group forgets what it captured
// in an earlier round of a quantifier around it, as in libc++.
func translate(expr string, again bool) (string, error) {
	p := pattern{in: expr, again: again}
	if err := p.alternatives(); err != nil {
		return "", err
	}
	if p.in != "" {
		return "", errPattern
	}
	return p.out.String(), nil
}

// highBytes is where the bytes from 0x80 go: U+E080 to U+E0FF.
const highBytes = 0xe000

// widen appends the characters that stand for the bytes of s.
func widen(dst []rune, s string) []rune {
	dst = slices.Grow(dst, len(s))
	for i := range len(s) {
		dst = append(dst, wide(s[i]))
	}
	return dst
}

func wide(b byte) rune {
	if b < 0x80 {
		return rune(b)
	}
	return highBytes + rune(b)
}

// peek reports whether the input goes on with prefix.
func (p *pattern) peek(prefix string) bool { return strings.HasPrefix(p.in, prefix) }

// accept takes prefix from the input if it is there.
func (p *pattern) accept(prefix string) bool {
	if !p.peek(prefix) {
		return false
	}
	p.in = p.in[len(prefix):]
	return true
}

// next takes one byte, 0 at the end: a pattern holds no NUL.
func (p *pattern) next() byte {
	if p.in == "" {
		return 0
	}
	b := p.in[0]
	p.in = p.in[1:]
	return b
}

func (p *pattern) alternatives() error {
	for {
		if err := p.terms(); err != nil {
			return err
		}
		if !p.accept("|") {
			return nil
		}
		p.out.WriteByte('|')
	}
}

// terms translates up to the end, a | or a ).
func (p *pattern) terms() error {
	for p.in != "" && !p.peek("|") && !p.peek(")") {
		assertion, err := p.assertion()
		if err != nil {
			return err
		}
		if assertion {
			continue
		}
		if err := p.atom(); err != nil {
			return err
		}
		if err := p.quantifier(); err != nil {
			return err
		}
	}
	return nil
}

const (
	// end stands for $, which regexp2 would match before a last line feed too.
	end = `(?![\s\S])`
	// nothing matches nowhere.
	nothing = `(?:(?!))`
)

func (p *pattern) assertion() (bool, error) {
	switch {
	case p.accept("^"):
		if p.again {
			p.out.WriteString(nothing)
		} else {
			p.out.WriteByte('^')
		}
	case p.accept("$"):
		p.out.WriteString(end)
	case p.accept(`\b`):
		p.out.WriteString(`\b`)
	case p.accept(`\B`):
		p.out.WriteString(`\B`)
	case p.accept("(?="):
		return true, p.group("(?=")
	case p.accept("(?!"):
		return true, p.group("(?!")
	default:
		return false, nil
	}
	return true, nil
}

func (p *pattern) group(open string) error {
	p.out.WriteString(open)
	if err := p.alternatives(); err != nil {
		return err
	}
	if !p.accept(")") {
		return errPattern
	}
	p.out.WriteByte(')')
	return nil
}

func (p *pattern) atom() error {
	switch {
	case p.accept("."):
		p.out.WriteString(`[^\n\r]`)
	case p.accept("["):
		set, err := p.brackets()
		if err != nil {
			return err
		}
		set.write(&p.out)
	case p.accept("(?:"):
		return p.group("(?:")
	case p.accept("("):
		p.groups++
		return p.group("(")
	case p.accept(`\`):
		return p.escape()
	default:
		b := p.next()
		if strings.IndexByte("*+?{]}", b) >= 0 {
			return errPattern
		}
		writeByte(&p.out, b)
	}
	return nil
}

func (p *pattern) escape() error {
	if n := digits(p.in); n > 0 && p.in[0] != '0' {
		group, err := strconv.Atoi(p.in[:n])
		if err != nil || group > p.groups {
			return errPattern
		}
		p.in = p.in[n:]
		// A group that took no part matches nothing in libc++, where
		// ECMAScript has it match the empty text.
		fmt.Fprintf(&p.out, `(?:(?(%d)\%d|(?!)))`, group, group)
		return nil
	}
	if set, ok := p.class(); ok {
		set.write(&p.out)
		return nil
	}
	b, err := p.character()
	if err != nil {
		return err
	}
	writeByte(&p.out, b)
	return nil
}

// class takes one of the letters of \d, \s and \w and their opposites.
func (p *pattern) class() (set byteSet, ok bool) {
	if p.in == "" {
		return set, false
	}
	f := posixClasses[strings.ToLower(p.in[:1])]
	if f == nil || strings.IndexByte("dswDSW", p.in[0]) < 0 {
		return set, false
	}
	negate := p.next() < 'a'
	for b := range set {
		set[b] = f(byte(b)) != negate
	}
	return set, true
}

// character takes what follows a backslash and stands for one byte.
func (p *pattern) character() (byte, error) {
	switch b := p.next(); b {
	case 0:
		return 0, errPattern
	case '0':
		return 0, nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'v':
		return '\v', nil
	case 'c':
		if c := p.next(); isAlpha(c) {
			return c % 32, nil
		}
		return 0, errPattern
	case 'u':
		return p.hexadecimal(4)
	case 'x':
		return p.hexadecimal(2)
	default:
		if b == '_' || isAlnum(b) {
			return 0, errPattern
		}
		return b, nil
	}
}

// hexadecimal takes n digits. A char keeps the lower eight bits.
func (p *pattern) hexadecimal(n int) (byte, error) {
	if len(p.in) < n {
		return 0, errPattern
	}
	v, err := strconv.ParseUint(p.in[:n], 16, 16)
	if err != nil {
		return 0, errPattern
	}
	p.in = p.in[n:]
	return byte(v), nil
}

func (p *pattern) quantifier() error {
	switch {
	case p.accept("*"):
		p.out.WriteByte('*')
	case p.accept("+"):
		p.out.WriteByte('+')
	case p.accept("?"):
		p.out.WriteByte('?')
	case p.accept("{"):
		least, ok := p.count()
		if !ok {
			return errPattern
		}
		most := least
		unlimited := false
		if p.accept(",") {
			if unlimited = p.peek("}"); !unlimited {
				if most, ok = p.count(); !ok || most < least {
					return errPattern
				}
			}
		}
		if !p.accept("}") {
			return errPattern
		}
		if unlimited {
			fmt.Fprintf(&p.out, "{%d,}", least)
		} else {
			fmt.Fprintf(&p.out, "{%d,%d}", least, most)
		}
	default:
		return nil
	}
	if p.accept("?") {
		p.out.WriteByte('?')
	}
	return nil
}

// count takes the number of a quantifier, an int in C.
func (p *pattern) count() (n int, ok bool) {
	length := digits(p.in)
	n, err := strconv.Atoi(p.in[:length])
	p.in = p.in[length:]
	return n, err == nil && n <= math.MaxInt32
}

// brackets takes a bracket expression behind its [.
func (p *pattern) brackets() (byteSet, error) {
	negate := p.accept("^")
	var set, excluded byteSet
	opposites := false
	for !p.accept("]") {
		if err := p.member(&set, &excluded, &opposites); err != nil {
			return set, err
		}
	}
	for b := range set {
		set[b] = (set[b] || opposites && !excluded[b]) != negate
	}
	return set, nil
}

// member takes one member of a bracket expression: a class or a character or a
// range of characters. libc++ takes all of \D, \S and \W in one bracket
// expression together as what is none of \d, \s and \w.
func (p *pattern) member(set, excluded *byteSet, opposites *bool) error {
	switch {
	case p.in == "":
		return errPattern
	case p.accept("[:"):
		return p.posixClass(set)
	case p.accept("[="):
		b, err := p.named("=]")
		if err == nil {
			set[b] = true
		}
		return err
	}
	single, first, err := p.endpoint(set, excluded, opposites)
	if err != nil {
		return err
	}
	if !p.peek("-") || p.peek("-]") || p.in == "-" {
		if single {
			set[first] = true
		}
		return nil
	}
	p.next()
	secondSingle, last, err := p.endpoint(set, excluded, opposites)
	if err != nil || !single || !secondSingle {
		return errPattern
	}
	for b := int(first); b <= int(last); b++ { // backwards it is empty
		set[b] = true
	}
	return nil
}

// endpoint takes a character, which can begin or end a range, or a class, which
// cannot.
func (p *pattern) endpoint(set, excluded *byteSet, opposites *bool) (single bool, b byte, err error) {
	switch {
	case p.accept("[."):
		b, err = p.named(".]")
		return true, b, err
	case !p.accept(`\`):
		b = p.next()
		if b == 0 {
			err = errPattern
		}
		return true, b, err
	case p.accept("b"):
		return true, '\b', nil
	}
	negative := p.in != "" && p.in[0] < 'a'
	if class, ok := p.class(); ok {
		if negative {
			*opposites = true
		}
		for b := range class {
			if negative {
				excluded[b] = excluded[b] || !class[b]
			} else {
				set[b] = set[b] || class[b]
			}
		}
		return false, 0, nil
	}
	b, err = p.character()
	return true, b, err
}

// posixClass takes the name of a class behind its [:.
func (p *pattern) posixClass(set *byteSet) error {
	name, rest, found := strings.Cut(p.in, ":]")
	f := posixClasses[strings.ToLower(name)]
	if !found || f == nil {
		return errPattern
	}
	p.in = rest
	for b := range set {
		set[b] = set[b] || f(byte(b))
	}
	return nil
}

// named takes the name of a collating element: in the C locale, a character.
func (p *pattern) named(closing string) (byte, error) {
	name, rest, found := strings.Cut(p.in, closing)
	if !found || len(name) != 1 {
		return 0, errPattern
	}
	p.in = rest
	return name[0], nil
}

// posixClasses are the classes of the C locale, with the d, s and w of
// std::regex.
var posixClasses = map[string]func(byte) bool{
	"alnum":  isAlnum,
	"alpha":  isAlpha,
	"blank":  func(b byte) bool { return b == ' ' || b == '\t' },
	"cntrl":  func(b byte) bool { return b < ' ' || b == 0x7f },
	"d":      isDigit,
	"digit":  isDigit,
	"graph":  func(b byte) bool { return b > ' ' && b < 0x7f },
	"lower":  func(b byte) bool { return b >= 'a' && b <= 'z' },
	"print":  func(b byte) bool { return b >= ' ' && b < 0x7f },
	"punct":  func(b byte) bool { return b > ' ' && b < 0x7f && !isAlnum(b) },
	"s":      isSpace,
	"space":  isSpace,
	"upper":  func(b byte) bool { return b >= 'A' && b <= 'Z' },
	"w":      func(b byte) bool { return isAlnum(b) || b == '_' },
	"xdigit": func(b byte) bool { return isDigit(b) || b|0x20 >= 'a' && b|0x20 <= 'f' },
}

func isAlpha(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }
func isDigit(b byte) bool { return b >= '0' && b <= '9' }
func isAlnum(b byte) bool { return isAlpha(b) || isDigit(b) }
func isSpace(b byte) bool { return strings.IndexByte(space, b) >= 0 }

// A byteSet is what a class or a bracket expression matches.
type byteSet [256]bool

// write writes the set as a class of regexp2.
func (s *byteSet) write(out *strings.Builder) {
	if *s == (byteSet{}) {
		out.WriteString(nothing)
		return
	}
	out.WriteByte('[')
	for first := 0; first < len(s); first++ {
		if !s[first] {
			continue
		}
		last := first
		// A range does not cross 0x7f: its two sides lie far apart.
		for last+1 < len(s) && s[last+1] && last != 0x7f {
			last++
		}
		writeByte(out, byte(first))
		if last > first {
			out.WriteByte('-')
			writeByte(out, byte(last))
		}
		first = last
	}
	out.WriteByte(']')
}

func writeByte(out *strings.Builder, b byte) {
	if b < 0x80 && !isAlnum(b) {
		fmt.Fprintf(out, `\x%02x`, b)
		return
	}
	out.WriteRune(wide(b))
}
