package engine

import "time"

// LookUpAfter has a connection index a copy of a table after that many look-ups
// which took as long.
func (c *Conn) LookUpAfter(least int, spent time.Duration) {
	c.policy = policy{least: least, spent: spent}
}

// NeverLookUp has a connection ask tables each time.
func (c *Conn) NeverLookUp() { c.policy = policy{never: true} }
