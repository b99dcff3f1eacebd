package nftables

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sockql/tables/internal/netlink"
)

// An operand is what a register holds.
type operand struct {
	left   string // how nft writes where it comes from; empty for a constant
	kind   kind
	length int       // bytes; fewer than the field has for a prefix that ends between bytes
	full   int       // bytes of the whole field
	value  []byte    // of a constant
	mask   []byte    // what a bitwise operation left
	needs  []int     // statements that say no more than its name does
	parts  []operand // of several fields that are loaded at once
}

// A writer puts the expressions of a rule together.
type writer struct {
	*Conn
	rule       *Rule
	registers  map[int]operand // by the offset in bytes of their beginning
	statements []string
	// What comparisons have told of the headers, and which statements did.
	network, transport           string
	linkFrom, netFrom, transFrom int
	ranged                       operand // of which the lower end was the last statement
	lower                        []byte
}

// Text returns a rule as nft(8) writes it, without its comment. Of a set that
// cannot be asked for, the name is written; the error says why.
func (c *Conn) Text(ctx context.Context, r *Rule) (string, error) {
	w := writer{Conn: c, rule: r, registers: map[int]operand{}, linkFrom: -1, netFrom: -1, transFrom: -1}
	switch r.Family {
	case unix.NFPROTO_IPV4:
		w.network = "ip"
	case unix.NFPROTO_IPV6:
		w.network = "ip6"
	case unix.NFPROTO_ARP:
		w.network = "arp"
	}
	var failure error
	for _, e := range r.Expressions {
		if err := w.expression(ctx, e); err != nil && failure == nil {
			failure = err
		}
	}
	return strings.Join(slices.DeleteFunc(w.statements, func(s string) bool { return s == "" }), " "), failure
}

func (w *writer) say(format string, args ...any) {
	w.statements = append(w.statements, fmt.Sprintf(format, args...))
}

// register returns where a register begins: four of 16 bytes, or the same room
// in 16 of four.
func register(a netlink.Attribute) int {
	n := int(a.BigUint32())
	if n >= unix.NFT_REG32_00 {
		return (n - unix.NFT_REG32_00) * unix.NFT_REG32_SIZE
	}
	return (n - unix.NFT_REG_1) * unix.NFT_REG_SIZE
}

func (w *writer) expression(ctx context.Context, e Expression) error {
	lower := w.lower
	w.lower = nil
	switch e.Name {
	case "meta", "ct", "payload", "immediate", "bitwise", "byteorder":
		w.load(e)
	case "cmp":
		w.compare(e, lower)
	case "range":
		o := w.use(e.get(unix.NFTA_RANGE_SREG))
		from, to := value(e.get(unix.NFTA_RANGE_FROM_DATA).Value), value(e.get(unix.NFTA_RANGE_TO_DATA).Value)
		not := ""
		if e.get(unix.NFTA_RANGE_OP).BigUint32() == unix.NFT_RANGE_NEQ {
			not = "!= "
		}
		w.say("%s %s%s-%s", o.left, not, w.write(o.kind, from), w.write(o.kind, to))
	case "lookup":
		return w.lookup(ctx, e)
	default:
		w.act(e)
	}
	return nil
}

// load handles what fills registers, or writes them back.
func (w *writer) load(e Expression) {
	switch e.Name {
	case "meta":
		k, known := metaKeys[e.get(unix.NFTA_META_KEY).BigUint32()]
		if !known {
			k = key{fmt.Sprintf("meta %d", e.get(unix.NFTA_META_KEY).BigUint32()), opaque}
		}
		if source, set := e.find(unix.NFTA_META_SREG); set {
			w.say("%s set %s", k.name, w.constant(k.kind, source))
			return
		}
		w.put(e.get(unix.NFTA_META_DREG), operand{left: k.name, kind: k.kind})
	case "ct":
		k, known := ctKeys[e.get(unix.NFTA_CT_KEY).BigUint32()]
		if !known {
			k = key{fmt.Sprint(e.get(unix.NFTA_CT_KEY).BigUint32()), opaque}
		}
		name := "ct " + k.name
		if source, set := e.find(unix.NFTA_CT_SREG); set {
			w.say("%s set %s", name, w.constant(k.kind, source))
			return
		}
		if d, ok := e.find(unix.NFTA_CT_DIRECTION); ok && len(d.Value) > 0 {
			name = "ct " + named[conntrackDirection][uint64(d.Value[0])] + " " + k.name
		}
		w.put(e.get(unix.NFTA_CT_DREG), operand{left: name, kind: k.kind})
	case "payload":
		o := w.payload(e)
		if source, set := e.find(unix.NFTA_PAYLOAD_SREG); set {
			w.hide(o.needs)
			w.say("%s set %s", o.left, w.constant(o.kind, source))
			return
		}
		w.put(e.get(unix.NFTA_PAYLOAD_DREG), o)
	case "immediate":
		data := e.get(unix.NFTA_IMMEDIATE_DATA).Value
		if v, ok := verdict(data); ok {
			w.say("%s", v)
			return
		}
		w.put(e.get(unix.NFTA_IMMEDIATE_DREG), operand{value: value(data)})
	case "byteorder": // of a number that is compared or written next
		o := w.registers[register(e.get(unix.NFTA_BYTEORDER_SREG))]
		if o.kind == hostOrder {
			o.kind = number
		}
		w.put(e.get(unix.NFTA_BYTEORDER_DREG), o)
	case "bitwise":
		o := w.registers[register(e.get(unix.NFTA_BITWISE_SREG))]
		mask, xor := value(e.get(unix.NFTA_BITWISE_MASK).Value), value(e.get(unix.NFTA_BITWISE_XOR).Value)
		if len(bytes.Trim(xor, "\x00")) > 0 {
			o.left = fmt.Sprintf("%s & %s ^ %s", o.left, w.write(opaqueAs(o.kind), mask), w.write(opaqueAs(o.kind), xor))
		} else {
			o.mask = mask
		}
		w.put(e.get(unix.NFTA_BITWISE_DREG), o)
	}
}

// opaqueAs is the kind in which a mask of a number is written.
func opaqueAs(k kind) kind {
	if k.hostOrdered() {
		return mark
	}
	return opaque
}

func (w *writer) put(dst netlink.Attribute, o operand) { w.registers[register(dst)] = o }

// use returns what a register holds, whose name makes statements redundant.
func (w *writer) use(src netlink.Attribute) operand {
	o, ok := w.registers[register(src)]
	if !ok {
		o.left = fmt.Sprintf("[register %d]", src.BigUint32())
	}
	w.hide(o.needs)
	return o
}

func (w *writer) hide(statements []int) {
	for _, i := range statements {
		w.statements[i] = ""
	}
}

// constant writes what a register holds, for a statement that takes it.
func (w *writer) constant(k kind, src netlink.Attribute) string {
	o, ok := w.registers[register(src)]
	switch {
	case !ok:
		return fmt.Sprintf("[register %d]", src.BigUint32())
	case o.left == "":
		return w.write(k, o.value)
	}
	w.hide(o.needs)
	if o.mask != nil {
		return o.left + " & " + w.write(opaqueAs(o.kind), o.mask)
	}
	return o.left
}

// payload returns the field at a place of a header.
func (w *writer) payload(e Expression) operand {
	offset, length := int(e.get(unix.NFTA_PAYLOAD_OFFSET).BigUint32()), int(e.get(unix.NFTA_PAYLOAD_LEN).BigUint32())
	protocol, base := "", ""
	var needs []int
	switch e.get(unix.NFTA_PAYLOAD_BASE).BigUint32() {
	case unix.NFT_PAYLOAD_LL_HEADER:
		protocol, base, needs = "ether", "ll", w.told(w.linkFrom)
	case unix.NFT_PAYLOAD_NETWORK_HEADER:
		protocol, base, needs = w.network, "nh", w.told(w.netFrom)
	case unix.NFT_PAYLOAD_TRANSPORT_HEADER:
		protocol, base, needs = cmp.Or(w.transport, "th"), "th", w.told(w.transFrom)
		if protocol == "ipv6-icmp" {
			protocol = "icmpv6"
		}
		if protocol == "icmp" || protocol == "icmpv6" {
			needs = append(needs, w.told(w.netFrom)...)
		}
	default:
		base = "ih"
	}
	for _, f := range headers[protocol] {
		// A prefix of an address may be loaded alone.
		if f.offset == offset && (f.length == length || f.kind == ipAddress && length < f.length) {
			return operand{left: protocol + " " + f.name, kind: f.kind, length: length, full: f.length, needs: needs}
		}
	}
	// nft compares neighbouring fields at once.
	var parts []operand
	at := offset
	for _, f := range headers[protocol] {
		if f.offset == at && at+f.length <= offset+length {
			parts = append(parts, operand{left: protocol + " " + f.name, kind: f.kind, length: f.length, full: f.length})
			at += f.length
		}
	}
	if len(parts) > 1 && at == offset+length {
		var names []string
		for _, part := range parts {
			names = append(names, part.left)
		}
		return operand{left: strings.Join(names, " . "), length: length, full: length, needs: needs, parts: parts}
	}
	return operand{left: fmt.Sprintf("@%s,%d,%d", base, 8*offset, 8*length), kind: opaque, length: length, full: length}
}

func (w *writer) told(statement int) []int {
	if statement < 0 {
		return nil
	}
	return []int{statement}
}

var comparisons = map[uint32]string{
	unix.NFT_CMP_NEQ: "!= ", unix.NFT_CMP_LT: "< ", unix.NFT_CMP_LTE: "<= ", unix.NFT_CMP_GT: "> ", unix.NFT_CMP_GTE: ">= ",
}

func (w *writer) compare(e Expression, lower []byte) {
	o := w.use(e.get(unix.NFTA_CMP_SREG))
	op, v := e.get(unix.NFTA_CMP_OP).BigUint32(), value(e.get(unix.NFTA_CMP_DATA).Value)
	if op == unix.NFT_CMP_LTE && lower != nil && w.ranged.left == o.left {
		w.statements[len(w.statements)-1] = fmt.Sprintf("%s %s-%s", o.left, w.write(o.kind, lower), w.write(o.kind, v))
		return
	}
	if o.mask != nil {
		w.say("%s", w.masked(o, op, v))
		return
	}
	if len(o.parts) > 0 && op == unix.NFT_CMP_EQ && len(v) == o.length {
		for _, part := range o.parts {
			w.say("%s %s", part.left, w.write(part.kind, v[:part.length]))
			v = v[part.length:]
		}
		return
	}
	if o.kind == ipAddress && o.length < o.full {
		whole := append(slices.Clone(v), make([]byte, max(o.full-len(v), 0))...)
		w.say("%s %s%s/%d", o.left, comparisons[op], w.write(o.kind, whole), 8*len(v))
		return
	}
	w.say("%s %s%s", o.left, comparisons[op], w.write(o.kind, v))
	if op == unix.NFT_CMP_GTE {
		w.ranged, w.lower = o, v
	}
	if op == unix.NFT_CMP_EQ {
		w.learn(o, v)
	}
}

// learn notes which header a comparison makes sure of. What stands in a field
// that nft adds itself need not be said once a field of that header is.
func (w *writer) learn(o operand, v []byte) {
	statement := len(w.statements) - 1
	switch o.left {
	case "iiftype":
		w.linkFrom = statement
	case "meta nfproto":
		w.network = map[uint64]string{unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6"}[o.kind.uint(v)]
		w.netFrom = statement
	case "meta protocol", "ether type":
		w.network = named[etherType][o.kind.uint(v)]
		w.netFrom = statement
	case "meta l4proto":
		w.transport, w.transFrom = named[ipProtocol][o.kind.uint(v)], statement
	case "ip protocol", "ip6 nexthdr":
		w.transport, w.transFrom = named[ipProtocol][o.kind.uint(v)], -1
		if w.netFrom < 0 { // else it is what tells IPv4 from IPv6
			w.transFrom = statement
		}
	}
}

// masked writes a comparison of some bits.
func (w *writer) masked(o operand, op uint32, v []byte) string {
	zero := len(bytes.Trim(v, "\x00")) == 0
	switch {
	case bitNames[o.kind] != nil && zero && op == unix.NFT_CMP_NEQ:
		return o.left + " " + w.write(o.kind, o.mask)
	case bitNames[o.kind] != nil && zero && op == unix.NFT_CMP_EQ:
		return fmt.Sprintf("%s ! %s", o.left, w.write(o.kind, o.mask))
	case o.kind == tcpFlags:
		return fmt.Sprintf("%s %s%s / %s", o.left, comparisons[op], w.write(o.kind, v), w.write(o.kind, o.mask))
	case o.kind == ipAddress:
		if n, ok := prefixLength(o.mask); ok {
			return fmt.Sprintf("%s %s%s/%d", o.left, comparisons[op], w.write(o.kind, v), n)
		}
	case o.left == "ip version" && len(v) == 1 && len(o.mask) == 1 && o.mask[0] == 0xf0:
		return fmt.Sprintf("%s %s%d", o.left, comparisons[op], v[0]>>4)
	case o.left == "ip version" && len(v) == 1 && len(o.mask) == 1 && o.mask[0] == 0x0f:
		return fmt.Sprintf("ip hdrlength %s%d", comparisons[op], v[0])
	case o.left == "ip dscp" && len(v) == 1 && len(o.mask) == 1 && o.mask[0] == 0xfc:
		return fmt.Sprintf("%s %s0x%02x", o.left, comparisons[op], v[0]>>2)
	}
	k := opaqueAs(o.kind)
	return fmt.Sprintf("%s & %s %s %s", o.left, w.write(k, o.mask), strings.TrimSpace(cmp.Or(comparisons[op], "==")), w.write(k, v))
}

// lookup writes a comparison with a set, or what a map makes of a value.
func (w *writer) lookup(ctx context.Context, e Expression) error {
	name := e.get(unix.NFTA_LOOKUP_SET).Text()
	s, err := w.set(ctx, setKey{w.rule.Family, w.rule.Table, name})
	// A key may be put together of what stands in several registers.
	at, length := register(e.get(unix.NFTA_LOOKUP_SREG)), 0
	var parts []operand
	for {
		o, ok := w.registers[at]
		if !ok {
			break
		}
		w.hide(o.needs)
		if o.length == 0 {
			o.length = o.kind.size()
		}
		parts = append(parts, o)
		room := unix.NFT_REG32_SIZE * ((o.length + unix.NFT_REG32_SIZE - 1) / unix.NFT_REG32_SIZE)
		at, length = at+room, length+room
		if s == nil || o.length == 0 || length >= s.keyLen {
			break
		}
	}
	var names []string
	for _, o := range parts {
		if o.mask != nil {
			o.left += " & " + w.write(o.kind, o.mask)
		}
		names = append(names, o.left)
	}
	left, right := strings.Join(names, " . "), "@"+name
	if s != nil && s.loaded {
		right = w.elements(s, parts)
	}
	not := ""
	if e.get(unix.NFTA_LOOKUP_FLAGS).BigUint32()&unix.NFT_LOOKUP_F_INV != 0 {
		not = "!= "
	}
	dst, isMap := e.find(unix.NFTA_LOOKUP_DREG)
	switch {
	case isMap && dst.BigUint32() == unix.NFT_REG_VERDICT:
		w.say("%s vmap %s", left, right)
	case isMap:
		w.put(dst, operand{left: fmt.Sprintf("%s map %s", left, right)})
	default:
		w.say("%s %s%s", left, not, right)
	}
	return err
}

// elements writes a set without a name.
func (w *writer) elements(s *set, parts []operand) string {
	list := slices.Clone(s.elements)
	slices.SortStableFunc(list, func(a, b element) int { return bytes.Compare(a.key, b.key) })
	pairs := s.flags&unix.NFT_SET_INTERVAL != 0 && len(parts) == 1
	var texts []string
	for i, e := range list {
		if e.flags&unix.NFT_SET_ELEM_INTERVAL_END != 0 {
			continue
		}
		last := e.end
		if pairs && last == nil {
			// A range ends where the next element begins, or not at all.
			last = bytes.Repeat([]byte{0xff}, len(e.key))
			if i+1 < len(list) {
				last = before(list[i+1].key)
			}
		}
		t := w.concatenated(e.key, last, parts)
		if v, ok := verdict(e.data); ok {
			t += " : " + v
		} else if data := value(e.data); data != nil {
			k := opaque
			if len(data) == 4 || len(data) == 16 {
				k = ipAddress
			}
			t += " : " + w.write(k, data)
		}
		texts = append(texts, t)
	}
	return "{ " + strings.Join(texts, ", ") + " }"
}

// before returns the number before one in network byte order.
func before(b []byte) []byte {
	b = slices.Clone(b)
	for i := len(b) - 1; i >= 0; i-- {
		b[i]--
		if b[i] != 0xff {
			break
		}
	}
	return b
}

// concatenated writes the key of an element, part by part.
func (w *writer) concatenated(key, last []byte, parts []operand) string {
	var texts []string
	for i, o := range parts {
		length := o.length
		if length == 0 || i == len(parts)-1 && len(parts) == 1 {
			length = len(key)
		}
		if length > len(key) || last != nil && length > len(last) {
			return fmt.Sprintf("0x%x", key)
		}
		if last != nil {
			texts = append(texts, w.span(o.kind, key[:length], last[:length]))
			last = last[min(netlink.Align(length), len(last)):]
		} else {
			texts = append(texts, w.write(o.kind, key[:length]))
		}
		key = key[min(netlink.Align(length), len(key)):]
	}
	return strings.Join(texts, " . ")
}

// span writes a range, which is one value if both ends are the same, and a
// prefix of an address if it is one.
func (w *writer) span(k kind, from, to []byte) string {
	if bytes.Equal(from, to) {
		return w.write(k, from)
	}
	if k == ipAddress {
		mask, aligned := make([]byte, len(from)), true
		for i := range from {
			mask[i] = ^(from[i] ^ to[i])
			aligned = aligned && from[i]&^mask[i] == 0
		}
		if n, ok := prefixLength(mask); ok && aligned {
			return fmt.Sprintf("%s/%d", w.write(k, from), n)
		}
	}
	return w.write(k, from) + "-" + w.write(k, to)
}

// act writes what a rule does but comparing.
func (w *writer) act(e Expression) {
	switch e.Name {
	case "counter":
		w.say("counter packets %d bytes %d", e.get(unix.NFTA_COUNTER_PACKETS).BigUint64(), e.get(unix.NFTA_COUNTER_BYTES).BigUint64())
	case "limit":
		w.limit(e)
	case "quota":
		over := ""
		if e.get(unix.NFTA_QUOTA_FLAGS).BigUint32()&unix.NFT_QUOTA_F_INV != 0 {
			over = "over "
		}
		w.say("quota %s%s", over, size(e.get(unix.NFTA_QUOTA_BYTES).BigUint64()))
		if used := e.get(unix.NFTA_QUOTA_CONSUMED).BigUint64(); used > 0 {
			w.say("used %s", size(used))
		}
	case "log":
		w.log(e)
	case "reject":
		w.reject(e)
	case "nat":
		w.nat(e)
	case "masq":
		w.say("masquerade%s%s", w.ports(" to ", e, unix.NFTA_MASQ_REG_PROTO_MIN, unix.NFTA_MASQ_REG_PROTO_MAX), natFlags(e.get(unix.NFTA_MASQ_FLAGS).BigUint32()))
	case "redir":
		w.say("redirect%s%s", w.ports(" to ", e, unix.NFTA_REDIR_REG_PROTO_MIN, unix.NFTA_REDIR_REG_PROTO_MAX), natFlags(e.get(unix.NFTA_REDIR_FLAGS).BigUint32()))
	case "notrack":
		w.say("notrack")
	case "queue":
		number := e.get(unix.NFTA_QUEUE_NUM)
		if len(number.Value) == 2 {
			w.say("queue to %d", uint16(number.Value[0])<<8|uint16(number.Value[1]))
			return
		}
		w.say("queue")
	case "objref":
		kind := map[uint32]string{
			unix.NFT_OBJECT_COUNTER: "counter name", unix.NFT_OBJECT_QUOTA: "quota name", unix.NFT_OBJECT_CT_HELPER: "ct helper set",
			unix.NFT_OBJECT_LIMIT: "limit name", unix.NFT_OBJECT_SYNPROXY: "synproxy name", unix.NFT_OBJECT_CT_TIMEOUT: "ct timeout set",
		}[e.get(unix.NFTA_OBJREF_IMM_TYPE).BigUint32()]
		w.say("%s %q", cmp.Or(kind, "[object]"), e.get(unix.NFTA_OBJREF_IMM_NAME).Text())
	case "dynset":
		op := map[uint32]string{unix.NFT_DYNSET_OP_ADD: "add", unix.NFT_DYNSET_OP_UPDATE: "update"}[e.get(unix.NFTA_DYNSET_OP).BigUint32()]
		o := w.use(e.get(unix.NFTA_DYNSET_SREG_KEY))
		w.say("%s @%s { %s }", cmp.Or(op, "delete"), e.get(unix.NFTA_DYNSET_SET_NAME).Text(), o.left)
	case "match":
		w.say("xt match %q", e.get(unix.NFTA_MATCH_NAME).Text())
	case "target":
		w.say("xt target %q", e.get(unix.NFTA_TARGET_NAME).Text())
	default:
		w.say("[%s]", e.Name)
		if dst, ok := e.find(1); ok && slices.Contains(loaders, e.Name) {
			w.put(dst, operand{left: "[" + e.Name + "]"})
			w.statements = w.statements[:len(w.statements)-1]
		}
	}
}

// loaders fill the register that their first attribute names.
var loaders = []string{"exthdr", "fib", "hash", "numgen", "osf", "rt", "socket", "tunnel", "xfrm"}

func (w *writer) limit(e Expression) {
	over, flags := "", e.get(unix.NFTA_LIMIT_FLAGS).BigUint32()
	if flags&unix.NFT_LIMIT_F_INV != 0 {
		over = "over "
	}
	rate, burst := e.get(unix.NFTA_LIMIT_RATE).BigUint64(), uint64(e.get(unix.NFTA_LIMIT_BURST).BigUint32())
	seconds := e.get(unix.NFTA_LIMIT_UNIT).BigUint64()
	unit := map[uint64]string{1: "second", 60: "minute", 3600: "hour", 86400: "day", 604800: "week"}[seconds]
	unit = cmp.Or(unit, fmt.Sprintf("%d seconds", seconds))
	if e.get(unix.NFTA_LIMIT_TYPE).BigUint32() == unix.NFT_LIMIT_PKT_BYTES {
		w.say("limit rate %s%s/%s", over, size(rate), unit)
		if burst > 0 {
			w.say("burst %s", size(burst))
		}
		return
	}
	w.say("limit rate %s%d/%s", over, rate, unit)
	const usual = 5 // nft's
	if burst != 0 && burst != usual {
		w.say("burst %d packets", burst)
	}
}

// size writes a number of bytes in the largest unit that divides it.
func size(n uint64) string {
	unit := "bytes"
	for _, larger := range []string{"kbytes", "mbytes"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, larger
	}
	return fmt.Sprintf("%d %s", n, unit)
}

func (w *writer) log(e Expression) {
	t := "log"
	if prefix := e.get(unix.NFTA_LOG_PREFIX).Text(); prefix != "" {
		t += " prefix " + strconv.Quote(prefix)
	}
	if g, ok := e.find(unix.NFTA_LOG_GROUP); ok && len(g.Value) == 2 {
		t += fmt.Sprintf(" group %d", uint16(g.Value[0])<<8|uint16(g.Value[1]))
	}
	levels := []string{"emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit"}
	const usual = 4
	if l, ok := e.find(unix.NFTA_LOG_LEVEL); ok && l.BigUint32() != usual && int(l.BigUint32()) < len(levels) {
		t += " level " + levels[l.BigUint32()]
	}
	w.say("%s", t)
}

func (w *writer) reject(e Expression) {
	code := -1
	if c := e.get(unix.NFTA_REJECT_ICMP_CODE).Value; len(c) > 0 {
		code = int(c[0])
	}
	kind, names := "icmpx", map[int]string{0: "no-route", 1: "port-unreachable", 2: "host-unreachable", 3: "admin-prohibited"}
	switch e.get(unix.NFTA_REJECT_TYPE).BigUint32() {
	case unix.NFT_REJECT_TCP_RST:
		w.say("reject with tcp reset")
		return
	case unix.NFT_REJECT_ICMP_UNREACH:
		kind, names = "icmp", map[int]string{0: "net-unreachable", 1: "host-unreachable", 2: "prot-unreachable", 3: "port-unreachable",
			9: "net-prohibited", 10: "host-prohibited", 13: "admin-prohibited"}
		if w.network == "ip6" {
			kind, names = "icmpv6", map[int]string{0: "no-route", 1: "admin-prohibited", 3: "addr-unreachable", 4: "port-unreachable", 5: "policy-fail", 6: "reject-route"}
		}
		w.hide(w.told(w.netFrom))
	}
	w.say("reject with %s %s", kind, cmp.Or(names[code], strconv.Itoa(code)))
}

func natName(e Expression) string {
	if e.get(unix.NFTA_NAT_TYPE).BigUint32() == unix.NFT_NAT_DNAT {
		return "dnat"
	}
	return "snat"
}

func (w *writer) nat(e Expression) {
	t := natName(e)
	if w.rule.Family == unix.NFPROTO_INET {
		family := uint8(e.get(unix.NFTA_NAT_FAMILY).BigUint32())
		t += " " + FamilyName(family)
		w.hide(w.told(w.netFrom))
	}
	to := ""
	if low, ok := e.find(unix.NFTA_NAT_REG_ADDR_MIN); ok {
		to = w.constant(ipAddress, low)
		if high, ok := e.find(unix.NFTA_NAT_REG_ADDR_MAX); ok && high.BigUint32() != low.BigUint32() {
			to += "-" + w.constant(ipAddress, high)
		}
	}
	ports := w.ports("", e, unix.NFTA_NAT_REG_PROTO_MIN, unix.NFTA_NAT_REG_PROTO_MAX)
	if ports != "" && strings.Contains(to, ":") {
		to = "[" + to + "]"
	}
	to += ports
	w.say("%s to %s%s", t, to, natFlags(e.get(unix.NFTA_NAT_FLAGS).BigUint32()))
}

// ports writes a range of ports, if there is one.
func (w *writer) ports(before string, e Expression, low, high uint16) string {
	first, ok := e.find(low)
	if !ok {
		return ""
	}
	t := before + ":" + w.constant(number, first)
	if last, ok := e.find(high); ok && last.BigUint32() != first.BigUint32() {
		t += "-" + w.constant(number, last)
	}
	return t
}

// natFlags writes NF_NAT_RANGE_* (include/uapi/linux/netfilter/nf_nat.h).
func natFlags(flags uint32) string {
	var names []string
	for _, f := range []struct {
		bit  uint32
		name string
	}{{4, "random"}, {16, "fully-random"}, {8, "persistent"}} {
		if flags&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " " + strings.Join(names, ",")
}
