package shell

import (
	"bytes"
	"io"
)

// Bracketed paste (ctlseqs, "Bracketed Paste Mode"): a terminal that is asked to
// marks where pasted text begins and ends.
const (
	pasteOn    = "\x1b[?2004h"
	pasteOff   = "\x1b[?2004l"
	pasteBegin = "\x1b[200~"
	pasteEnd   = "\x1b[201~"
)

// A pasteReader keeps pasted text from pressing keys: a tab in it is a blank and
// completes nothing, and control characters are dropped. Its line ends stay, so
// that a statement of several lines is entered as if it were typed; it runs
// when it is whole.
type pasteReader struct {
	r      io.Reader
	buf    [4096]byte
	within bool   // pasted text
	held   []byte // what may be the beginning of a mark
	ready  []byte // translated and not read yet
	err    error
}

func (p *pasteReader) Read(b []byte) (int, error) {
	for len(p.ready) == 0 && len(b) > 0 {
		if p.err != nil {
			return 0, p.err
		}
		var n int
		n, p.err = p.r.Read(p.buf[:])
		p.ready = p.translate(nil, p.buf[:n], p.err != nil)
	}
	n := copy(b, p.ready)
	p.ready = p.ready[n:]
	return n, nil
}

// translate appends what is left of a text to dst. At the end nothing is held
// back.
func (p *pasteReader) translate(dst, text []byte, end bool) []byte {
	text = append(p.held, text...)
	p.held = nil
	for len(text) > 0 {
		mark := pasteBegin
		if p.within {
			mark = pasteEnd
		}
		at := bytes.IndexByte(text, '\x1b')
		if at < 0 {
			return p.appendText(dst, text)
		}
		dst = p.appendText(dst, text[:at])
		text = text[at:]
		switch {
		case bytes.HasPrefix(text, []byte(mark)):
			p.within = !p.within
			text = text[len(mark):]
		case !end && (len(text) > 1 || p.within) && len(text) < len(mark) && bytes.HasPrefix([]byte(mark), text):
			// A lone escape that is typed is a key, after which nothing may come.
			p.held = bytes.Clone(text)
			return dst
		default:
			dst = p.appendText(dst, text[:1])
			text = text[1:]
		}
	}
	return dst
}

func (p *pasteReader) appendText(dst, text []byte) []byte {
	if !p.within {
		return append(dst, text...)
	}
	for _, c := range text {
		switch {
		case c == '\t':
			dst = append(dst, ' ')
		case c >= ' ' && c != 0x7f, c == '\r', c == '\n':
			dst = append(dst, c)
		}
	}
	return dst
}
