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

// An awaited reader stops waiting for a line when ctx ends: nobody else ends a
// read of a pipe to which its other end writes nothing.
type awaited struct {
	lineReader
	ctx context.Context
}

func (a awaited) line(continued bool) (string, error) {
	type result struct {
		text string
		err  error
	}
	ready := make(chan result, 1)
	go func() {
		text, err := a.lineReader.line(continued)
		ready <- result{text, err}
	}()
	select {
	case r := <-ready:
		return r.text, r.err
	case <-a.ctx.Done():
		return "", context.Cause(a.ctx)
	}
}

// process reads statements and dot commands and runs them. It returns how many
// failed. The error is what ended it early: errQuit, an exitError, or that the
// input cannot be read.
func (s *shell) process(ctx context.Context, in lineReader) (failed int, err error) {
	b := batch{shell: s}
	if lines, ok := in.(fileLines); ok {
		in = awaited{lines, ctx}
	}
	for b.failed == 0 || !s.bail || s.prompt {
		if ctx.Err() != nil {
			return b.failed, context.Cause(ctx)
		}
		line, err := in.line(b.begun())
		switch {
		case errors.Is(err, errInterrupted):
			b.drop()
			continue
		case errors.Is(err, io.EOF):
			b.finish(ctx)
			return b.failed, nil
		case err != nil:
			return b.failed, err
		}
		if err := b.add(ctx, line); err != nil {
			return b.failed, err
		}
	}
	return b.failed, nil
}

// A batch gathers lines until they are a statement.
type batch struct {
	shell  *shell
	sql    strings.Builder
	number int                                         // of the last line
	first  int                                         // line of the statement
	run    func(*shell, context.Context, string) error // what is done with the statement
	failed int
}

func (b *batch) begun() bool { return b.sql.Len() > 0 }

func (b *batch) drop() {
	b.sql.Reset()
	b.run, b.shell.pending = nil, ""
}

// add takes a line and runs what it completes. Its error ends the input.
func (b *batch) add(ctx context.Context, line string) error {
	s := b.shell
	b.number++
	if b.begun() {
		b.sql.WriteByte('\n')
		b.sql.WriteString(line)
	} else {
		if blank(line) || line[0] == '.' {
			b.echo(line)
		}
		if blank(line) {
			return nil
		}
		sql, run := line, (*shell).exec
		if line[0] == '.' {
			if sql, run = statementCommand(line); run == nil {
				return b.dot(ctx, line)
			}
		}
		b.run, b.first = run, b.number
		b.sql.WriteString(trimSpace(sql))
	}
	s.pending = b.sql.String()
	switch {
	case strings.Contains(line, ";") && engine.Complete(s.pending):
		prefix := "Error:"
		if !s.prompt {
			prefix = fmt.Sprintf("Error: near line %d:", b.first)
		}
		b.finishStatement(ctx, prefix)
	case blank(s.pending): // the line was the end of a comment
		b.echo(s.pending)
		b.drop()
	}
	return nil
}

// finish runs what is left at the end of the input, which has no semicolon.
func (b *batch) finish(ctx context.Context) {
	if !blank(b.sql.String()) {
		b.finishStatement(ctx, "Error:")
	}
}

// statementCommand returns what a dot command does with the statement that
// follows it, which may take several lines; nil for other commands.
func statementCommand(line string) (sql string, run func(*shell, context.Context, string) error) {
	if sql, ok := strings.CutPrefix(line, ".types "); ok {
		return sql, (*shell).types
	}
	if sql, ok := strings.CutPrefix(line, ".explain "); ok {
		return sql, (*shell).explainCommand
	}
	return "", nil
}

func (b *batch) finishStatement(ctx context.Context, prefix string) {
	s, sql, run := b.shell, b.sql.String(), b.run
	b.drop()
	err := s.interruptible(ctx, func(ctx context.Context) error { return run(s, ctx, sql) })
	if err != nil {
		b.failed++
		s.fail(prefix, err, sql)
	}
}

func (b *batch) dot(ctx context.Context, line string) error {
	err := b.shell.dot(ctx, line)
	if err == nil || isExit(err) {
		return err
	}
	b.failed++
	b.shell.complain(err)
	return nil
}

func (b *batch) echo(line string) {
	if b.shell.echo {
		fmt.Fprintln(b.shell.stdout, line)
	}
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
