package procfs

import (
	"fmt"
	"math"
)

// clipped bounds how much of a malformed line a warning quotes.
const clipped = 80

// A cursor takes a line apart from left to right. The first column that is not
// what it should be is remembered; from then on all columns are empty.
type cursor struct {
	line []byte
	at   int
	bad  string // the column that failed
}

// err returns an error that names the malformed column.
func (c *cursor) err() error {
	if c.bad == "" {
		return nil
	}
	line := c.line
	if len(line) > clipped {
		line = line[:clipped]
	}
	return fmt.Errorf("no valid %s in %q", c.bad, line)
}

func (c *cursor) fail(column string) {
	if c.bad == "" {
		c.bad = column
	}
	c.at = len(c.line)
}

// more skips spaces and tabs and reports whether a column follows.
func (c *cursor) more() bool {
	at := c.at
	for at < len(c.line) && (c.line[at] == ' ' || c.line[at] == '\t') {
		at++
	}
	c.at = at
	return at < len(c.line)
}

// ended reports whether the column ends here.
func (c *cursor) ended() bool {
	return c.at >= len(c.line) || c.line[c.at] == ' ' || c.line[c.at] == '\t'
}

// colon takes the colon between two parts of a column.
func (c *cursor) colon(column string) {
	if c.at >= len(c.line) || c.line[c.at] != ':' {
		c.fail(column)
		return
	}
	c.at++
}

// hex takes hexadecimal digits, at least the given number of them.
func (c *cursor) hex(least int, column string) uint64 {
	var n uint64
	rest := c.line[c.at:]
	digits := 0
	for digits < len(rest) {
		d := hexDigit(rest[digits])
		if d > 15 {
			break
		}
		n = n<<4 | uint64(d)
		digits++
	}
	c.at += digits
	if digits < least || digits > 16 {
		c.fail(column)
		return 0
	}
	return n
}

// word takes 32 bits as exactly eight hexadecimal digits, which is how the
// kernel prints a part of an address.
func (c *cursor) word(column string) uint32 {
	if len(c.line)-c.at < 8 {
		c.fail(column)
		return 0
	}
	var n, wrong uint32
	for _, b := range (*[8]byte)(c.line[c.at:]) {
		d := uint32(hexDigit(b))
		wrong |= d
		n = n<<4 | d&15
	}
	if wrong > 15 {
		c.fail(column)
		return 0
	}
	c.at += 8
	return n
}

// hex32 takes a whole column of hexadecimal digits that fits 32 bits.
func (c *cursor) hex32(least int, column string) uint32 {
	c.more()
	n := c.hex(least, column)
	if !c.ended() || n > math.MaxUint32 {
		c.fail(column)
		return 0
	}
	return uint32(n)
}

// dec takes a whole column of decimal digits.
func (c *cursor) dec(column string) uint64 {
	c.more()
	var n uint64
	rest := c.line[c.at:]
	digits := 0
	for digits < len(rest) && rest[digits]-'0' <= 9 {
		n = n*10 + uint64(rest[digits]-'0')
		digits++
	}
	c.at += digits
	ok := digits > 0 && c.ended()
	if digits >= 20 && ok { // may not fit
		n, ok = decimal(rest[:digits])
	}
	if !ok {
		c.fail(column)
		return 0
	}
	return n
}

// dec32 is dec for a number that fits 32 bits.
func (c *cursor) dec32(column string) uint32 {
	n := c.dec(column)
	if n > math.MaxUint32 {
		c.fail(column)
		return 0
	}
	return uint32(n)
}

// signed takes a whole column that is a 32-bit number with a sign.
func (c *cursor) signed(column string) int32 {
	n := c.signed64(column)
	if n < math.MinInt32 || n > math.MaxInt32 {
		c.fail(column)
		return 0
	}
	return int32(n)
}

// signed64 takes a whole column that is a number with a sign.
func (c *cursor) signed64(column string) int64 {
	c.more()
	negative := c.at < len(c.line) && c.line[c.at] == '-'
	if negative {
		c.at++
		if c.ended() {
			c.fail(column)
			return 0
		}
	}
	n := c.dec(column)
	if n > math.MaxInt64 {
		c.fail(column)
		return 0
	}
	if negative {
		return -int64(n)
	}
	return int64(n)
}

// token takes a whole column of any content.
func (c *cursor) token(column string) []byte {
	c.more()
	rest := c.line[c.at:]
	size := 0
	for size < len(rest) && rest[size] != ' ' {
		size++
	}
	c.at += size
	if size == 0 {
		c.fail(column)
	}
	return rest[:size]
}

// hexDigit returns the value of a hexadecimal digit, 255 for any other byte.
func hexDigit(b byte) byte {
	if d := b - '0'; d <= 9 {
		return d
	}
	if d := (b | 0x20) - 'a'; d <= 5 {
		return d + 10
	}
	return 255
}
