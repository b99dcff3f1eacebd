package etcfiles

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// MaxLine is the number of bytes, with its line feed, up to which a line is
// read. A group of a thousand members fits many times.
const MaxLine = 64 << 10

const blank = " \t\n\v\f\r"

// lines calls yield with each line that is neither empty nor a comment, without
// white space around it, until yield returns false.
func lines(r io.Reader, yield func(line string) bool) error {
	b := bufio.NewReaderSize(r, MaxLine)
	tooLong := false
	for {
		part, err := b.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			tooLong = true
			continue
		}
		if !tooLong {
			line := strings.Trim(string(part), blank)
			if line != "" && line[0] != '#' && !yield(line) {
				return nil
			}
		}
		tooLong = false
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// cutComment returns the fields of a line and the comment behind them. As in
// osquery, a # within the comment stands between two parts of it.
func cutComment(line string) (fields []string, comment string) {
	content, rest, _ := strings.Cut(line, "#")
	var parts []string
	for part := range strings.SplitSeq(rest, "#") {
		if part != "" {
			parts = append(parts, strings.Trim(part, blank))
		}
	}
	return strings.FieldsFunc(content, isBlank), strings.Join(parts, " # ")
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' }
