package procfs

import (
	"bytes"
	"errors"
	"io"
)

// errLineTooLong stands for a line that does not fit the buffer, which no
// kernel prints.
var errLineTooLong = errors.New("line too long")

// A lineReader splits what it reads into lines, within one buffer whatever the
// length of the input.
type lineReader struct {
	r          io.Reader
	buf        []byte
	start, end int
	number     int // of the line returned last, counted from 1
	err        error
}

// next returns the next line without its newline. It is valid until the next
// call. After [errLineTooLong] the following lines can be read; every other
// error is final, [io.EOF] at the end.
func (l *lineReader) next() ([]byte, error) {
	searched := 0
	for {
		if i := bytes.IndexByte(l.buf[l.start+searched:l.end], '\n'); i >= 0 {
			line := l.buf[l.start : l.start+searched+i]
			l.start += searched + i + 1
			l.number++
			return line, nil
		}
		searched = l.end - l.start
		if l.err != nil {
			if searched > 0 && l.err == io.EOF {
				line := l.buf[l.start:l.end]
				l.start = l.end
				l.number++
				return line, nil
			}
			return nil, l.err
		}
		if l.start > 0 {
			copy(l.buf, l.buf[l.start:l.end])
			l.start, l.end = 0, searched
		}
		if l.end == len(l.buf) {
			l.skip()
			l.number++
			return nil, errLineTooLong
		}
		n, err := l.r.Read(l.buf[l.end:])
		l.end += n
		l.err = err
	}
}

// skip drops what is left of a line that fills the buffer.
func (l *lineReader) skip() {
	for {
		l.start, l.end = 0, 0
		if l.err != nil {
			return
		}
		n, err := l.r.Read(l.buf)
		l.err = err
		if i := bytes.IndexByte(l.buf[:n], '\n'); i >= 0 {
			l.start, l.end = i+1, n
			return
		}
	}
}
