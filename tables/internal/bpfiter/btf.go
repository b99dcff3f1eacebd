package bpfiter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// The kernel describes some hundred thousand types, of which our programs need
// a few dozen. Decoding all of them takes most of a cold start, so only those
// are picked, in one pass over the raw bytes, and given to the BTF library as
// if they were all. The format is that of
// https://docs.kernel.org/bpf/btf.html.

const (
	btfMagic      = 0xeb9f
	btfHeaderSize = 24
	btfTypeSize   = 12
)

// Kinds of types, include/uapi/linux/btf.h.
const (
	kindInt      = 1
	kindPointer  = 2
	kindArray    = 3
	kindStruct   = 4
	kindUnion    = 5
	kindEnum     = 6
	kindForward  = 7
	kindTypedef  = 8
	kindVolatile = 9
	kindConst    = 10
	kindRestrict = 11
	kindFunc     = 12
	kindProto    = 13
	kindVar      = 14
	kindDatasec  = 15
	kindFloat    = 16
	kindDeclTag  = 17
	kindTypeTag  = 18
	kindEnum64   = 19
)

var errBTF = errors.New("malformed BTF")

// A typeTable is raw BTF with the places of its types.
type typeTable struct {
	types, strings []byte
	offsets        []uint32 // of each type in types, by id; the first is void's
}

// A rawType is struct btf_type and what follows it.
type rawType struct {
	name uint32 // offset of the name
	kind uint32
	n    int    // members, values or parameters
	info uint32 // as it stands, with n and kind
	ref  uint32 // size, or the id of another type
	rest []byte
}

// parseTypes finds the types in raw BTF.
func parseTypes(raw []byte) (*typeTable, error) {
	if len(raw) < btfHeaderSize || binary.NativeEndian.Uint16(raw) != btfMagic {
		return nil, errBTF
	}
	header := uint64(binary.NativeEndian.Uint32(raw[4:]))
	section := func(at int) []byte {
		from := header + uint64(binary.NativeEndian.Uint32(raw[at:]))
		to := from + uint64(binary.NativeEndian.Uint32(raw[at+4:]))
		if to > uint64(len(raw)) {
			return nil
		}
		return raw[from:to]
	}
	t := &typeTable{types: section(8), strings: section(16)}
	if t.types == nil || t.strings == nil {
		return nil, errBTF
	}
	// Types take some 20 bytes on average.
	t.offsets = append(make([]uint32, 0, len(t.types)/20), 0)
	for at := 0; at < len(t.types); {
		size, ok := typeSize(t.types[at:])
		if !ok {
			return nil, errBTF
		}
		t.offsets = append(t.offsets, uint32(at))
		at += size
	}
	return t, nil
}

// typeSize returns the size of the first type in b.
func typeSize(b []byte) (int, bool) {
	if len(b) < btfTypeSize {
		return 0, false
	}
	info := binary.NativeEndian.Uint32(b[4:])
	size, n := btfTypeSize, int(info&0xffff)
	switch info >> 24 & 0x1f {
	case kindPointer, kindForward, kindTypedef, kindVolatile, kindConst, kindRestrict, kindFunc, kindFloat, kindTypeTag:
	case kindInt, kindVar, kindDeclTag:
		size += 4
	case kindArray:
		size += 12
	case kindStruct, kindUnion, kindDatasec, kindEnum64:
		size += 12 * n
	case kindEnum, kindProto:
		size += 8 * n
	default:
		return 0, false
	}
	return size, size <= len(b)
}

// at returns a type by its id, which is not void's.
func (t *typeTable) at(id uint32) (rawType, bool) {
	if id == 0 || int(id) >= len(t.offsets) {
		return rawType{}, false
	}
	b := t.types[t.offsets[id]:]
	size, _ := typeSize(b)
	info := binary.NativeEndian.Uint32(b[4:])
	return rawType{
		name: binary.NativeEndian.Uint32(b),
		kind: info >> 24 & 0x1f,
		n:    int(info & 0xffff),
		info: info,
		ref:  binary.NativeEndian.Uint32(b[8:]),
		rest: b[btfTypeSize:size],
	}, true
}

// name returns the string at an offset, without its NUL.
func (t *typeTable) name(offset uint32) []byte {
	if int(offset) >= len(t.strings) {
		return nil
	}
	s := t.strings[offset:]
	if end := bytes.IndexByte(s, 0); end >= 0 {
		return s[:end]
	}
	return nil
}

// find returns the ids of the structs and functions with the given names.
func (t *typeTable) find(structs layouts, functions map[string]bool) (ids []uint32, funcs map[string]uint32) {
	// Two letters that a wanted name begins with leave few others to look up.
	var begins [1 << 16]bool
	begin := func(name string) { begins[binary.NativeEndian.Uint16([]byte(name+"\x00"))] = true }
	for name := range structs {
		begin(name)
	}
	for name := range functions {
		begin(name)
	}
	funcs = make(map[string]uint32, len(functions))
	for id, at := range t.offsets[1:] {
		b := t.types[at:]
		kind := binary.NativeEndian.Uint32(b[4:]) >> 24 & 0x1f
		if kind != kindStruct && kind != kindTypedef && kind != kindFunc {
			continue
		}
		offset := binary.NativeEndian.Uint32(b)
		if offset == 0 || uint64(offset)+2 > uint64(len(t.strings)) || !begins[binary.NativeEndian.Uint16(t.strings[offset:])] {
			continue
		}
		name := t.name(offset)
		switch {
		case kind == kindFunc:
			if functions[string(name)] {
				funcs[string(name)] = uint32(id + 1)
			}
		case structs[string(name)] != nil:
			ids = append(ids, uint32(id+1))
		}
	}
	return ids, funcs
}

// A pruner copies types, and those that they consist of, to new BTF. What a
// pointer leads to is no part of a type: pointers become pointers to void.
type pruner struct {
	from    *typeTable
	keep    layouts
	types   []byte
	strings []byte
	ids     map[uint32]uint32 // new ids by old ones
	next    uint32
	err     error
}

// prune returns BTF of the types alone, and of these the members to keep.
func (t *typeTable) prune(ids []uint32, keep layouts) (*btf.Spec, error) {
	p := pruner{from: t, keep: keep, strings: []byte{0}, ids: map[uint32]uint32{0: 0}, next: 1}
	for _, id := range ids {
		p.copy(id, 0)
	}
	if p.err != nil {
		return nil, p.err
	}
	raw := binary.NativeEndian.AppendUint16(nil, btfMagic)
	raw = append(raw, 1, 0) // version, flags
	for _, n := range []int{btfHeaderSize, 0, len(p.types), len(p.types), len(p.strings)} {
		raw = binary.NativeEndian.AppendUint32(raw, uint32(n))
	}
	raw = append(append(raw, p.types...), p.strings...)
	return btf.LoadSpecFromReader(bytes.NewReader(raw))
}

// maxNesting bounds how deeply types consist of others.
const maxNesting = 64

// copy copies a type and returns its new id.
func (p *pruner) copy(id uint32, depth int) uint32 {
	if id, done := p.ids[id]; done {
		return id
	}
	t, ok := p.from.at(id)
	if !ok || depth > maxNesting {
		p.err = errBTF
	}
	if p.err != nil {
		return 0
	}
	switch t.kind {
	case kindVolatile, kindConst, kindRestrict, kindTypeTag:
		// They mean nothing to a layout.
		copied := p.copy(t.ref, depth+1)
		p.ids[id] = copied
		return copied
	case kindPointer, kindProto, kindFunc:
		p.ids[id] = p.add(rawType{info: kindPointer << 24})
		return p.ids[id]
	case kindArray:
		element := p.copy(binary.NativeEndian.Uint32(t.rest), depth+1)
		index := p.copy(binary.NativeEndian.Uint32(t.rest[4:]), depth+1)
		rest := binary.NativeEndian.AppendUint32(nil, element)
		rest = binary.NativeEndian.AppendUint32(rest, index)
		t.rest = append(rest, t.rest[8:]...)
	case kindTypedef:
		t.ref = p.copy(t.ref, depth+1)
	case kindStruct, kindUnion:
		t = p.members(t, depth)
	case kindEnum, kindEnum64:
		// Its size matters, its values do not.
		t.info, t.rest = t.info&^0xffff, nil
	}
	t.name = p.string(t.name)
	copied := p.add(t)
	p.ids[id] = copied
	return copied
}

// members copies the types of a struct's members and leaves out those that
// nobody asks for.
func (p *pruner) members(t rawType, depth int) rawType {
	keep := p.keep[string(p.from.name(t.name))]
	var rest []byte
	for m := t.rest; len(m) >= 12; m = m[12:] {
		name := binary.NativeEndian.Uint32(m)
		if keep != nil && name != 0 && !keep[string(p.from.name(name))] {
			continue
		}
		rest = binary.NativeEndian.AppendUint32(rest, p.string(name))
		rest = binary.NativeEndian.AppendUint32(rest, p.copy(binary.NativeEndian.Uint32(m[4:]), depth+1))
		rest = append(rest, m[8:12]...)
	}
	t.rest, t.info = rest, t.info&^0xffff|uint32(len(rest)/12)
	return t
}

func (p *pruner) string(offset uint32) uint32 {
	name := p.from.name(offset)
	if len(name) == 0 {
		return 0
	}
	at := uint32(len(p.strings))
	p.strings = append(append(p.strings, name...), 0)
	return at
}

func (p *pruner) add(t rawType) uint32 {
	for _, n := range []uint32{t.name, t.info, t.ref} {
		p.types = binary.NativeEndian.AppendUint32(p.types, n)
	}
	p.types = append(p.types, t.rest...)
	p.next++
	return p.next - 1
}

// layouts are the members of structs that programs ask for, by the structs'
// names.
type layouts map[string]map[string]bool

// layoutsOf returns what an object's types ask for. What a name says after three
// underscores tells apart versions of one struct.
func layoutsOf(spec *btf.Spec) (layouts, error) {
	all := layouts{}
	for t, err := range spec.All() {
		if err != nil {
			return nil, fmt.Errorf("types of the programs: %w", err)
		}
		name, _, _ := strings.Cut(t.TypeName(), "___")
		switch t := t.(type) {
		case *btf.Struct:
			if name != "" {
				all.add(name, t.Members)
			}
		case *btf.Typedef:
			// A struct may have no name but its typedef's.
			if s, ok := t.Type.(*btf.Struct); ok && s.Name == "" {
				all.add(name, nil)
			}
		}
	}
	return all, nil
}

// add adds members, and those of members without a name.
func (l layouts) add(name string, members []btf.Member) {
	if l[name] == nil {
		l[name] = map[string]bool{}
	}
	for _, m := range members {
		if m.Name != "" {
			l[name][m.Name] = true
			continue
		}
		switch inner := m.Type.(type) {
		case *btf.Struct:
			l.add(name, inner.Members)
		case *btf.Union:
			l.add(name, inner.Members)
		}
	}
}
