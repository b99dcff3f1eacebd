package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"sockql/engine"
)

// A lineReader gives lines without their end. continued says that a statement
// has begun. It returns io.EOF at the end and errInterrupted when somebody
// abandons a line.
type lineReader interface {
	line(continued bool) (string, error)
}

var errInterrupted = errors.New("interrupted")

type fileLines struct{ r *bufio.Reader }

func (f fileLines) line(bool) (string, error) {
	text, err := f.r.ReadString('\n')
	if text == "" && err != nil {
		return "", err
	}
	return strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r"), nil
}

// process reads statements and dot commands and runs them. It returns how many
// failed. The error is what ended it early: errQuit, an exitError, or that the
// input cannot be read.
func (s *shell) process(ctx context.Context, in lineReader) (failed int, err error) {
	var sql strings.Builder
	number, first := 0, 0
	types := false
	finish := func(prefix string) {
		text := sql.String()
		sql.Reset()
		s.pending = ""
		var err error
		if types {
			err = s.types(ctx, text)
		} else {
			err = s.interruptible(ctx, func(ctx context.Context) error { return s.exec(ctx, text) })
		}
		types = false
		if err != nil {
			failed++
			s.fail(prefix, err, text)
		}
	}
	for failed == 0 || !s.bail || s.prompt {
		if err := ctx.Err(); err != nil {
			return failed, context.Cause(ctx)
		}
		line, err := in.line(sql.Len() > 0)
		switch {
		case errors.Is(err, errInterrupted):
			sql.Reset()
			s.pending, types = "", false
			continue
		case errors.Is(err, io.EOF):
			// What has no semicolon is run all the same.
			if text := sql.String(); !blank(text) {
				finish("Error:")
			}
			return failed, nil
		case err != nil:
			return failed, err
		}
		number++
		if sql.Len() == 0 {
			if blank(line) {
				if s.echo {
					fmt.Fprintln(s.stdout, line)
				}
				continue
			}
			if line[0] == '.' {
				if s.echo {
					fmt.Fprintln(s.stdout, line)
				}
				rest, ok := strings.CutPrefix(line, ".types ")
				if !ok {
					switch err := s.dot(ctx, line); {
					case isExit(err):
						return failed, err
					case err != nil:
						failed++
						s.complain(err)
					}
					continue
				}
				line, types = rest, true
			}
			first = number
			sql.WriteString(trimSpace(line))
		} else {
			sql.WriteByte('\n')
			sql.WriteString(line)
		}
		text := sql.String()
		switch {
		case strings.Contains(line, ";") && engine.Complete(text):
			if s.prompt {
				finish("Error:")
			} else {
				finish(fmt.Sprintf("Error: near line %d:", first))
			}
		case blank(text):
			if s.echo {
				fmt.Fprintln(s.stdout, text)
			}
			sql.Reset()
			s.pending = ""
		default:
			s.pending = text
		}
	}
	return failed, nil
}

func isExit(err error) bool {
	var exit exitError
	return errors.Is(err, errQuit) || errors.As(err, &exit)
}

// complain prints an error, unless it has been said.
func (s *shell) complain(err error) {
	var usage *usageError
	switch {
	case errors.Is(err, errSaid):
	case errors.As(err, &usage):
		fmt.Fprintln(s.stderr, err)
	default:
		fmt.Fprintf(s.stderr, "Error: %s\n", message(err))
	}
}

// errSaid is an error about which nothing needs to be said any more.
var errSaid = errors.New("said")

// blank reports whether a text is only white space and comments.
func blank(s string) bool {
	for {
		s = trimSpace(s)
		switch {
		case s == "":
			return true
		case strings.HasPrefix(s, "/*"):
			end := strings.Index(s[2:], "*/")
			if end < 0 {
				return false // the comment goes on
			}
			s = s[end+4:]
		case strings.HasPrefix(s, "--"):
			end := strings.IndexByte(s, '\n')
			if end < 0 {
				return true
			}
			s = s[end:]
		default:
			return false
		}
	}
}

// readFile runs a file of statements and dot commands.
func (s *shell) readFile(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return fmt.Errorf("read %s: is a directory", path)
	}
	const deepest = 16
	if s.depth >= deepest {
		return fmt.Errorf("read %s: files that read files nest deeper than %d", path, deepest)
	}
	atPrompt := s.prompt
	s.prompt, s.depth = false, s.depth+1
	failed, err := s.process(ctx, fileLines{bufio.NewReader(f)})
	s.prompt, s.depth = atPrompt, s.depth-1
	switch {
	case errors.Is(err, errQuit):
		err = nil
	case err == nil && failed > 0:
		err = errSaid
	}
	return err
}
