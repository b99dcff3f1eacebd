package etcfiles

import (
	"io"
	"strconv"
	"strings"
)

// A Service is a line of services(5).
type Service struct {
	Name     string
	Port     uint16 // host byte order
	Protocol string // a name from protocols(5), such as tcp
	Aliases  string // further names, a space between them
	Comment  string
}

// Services parses services(5).
func Services(r io.Reader, yield func(*Service) bool) error {
	var s Service
	return lines(r, func(line string) bool {
		fields, comment := cutComment(line)
		if len(fields) < 2 {
			return true
		}
		digits, protocol, _ := strings.Cut(fields[1], "/")
		port, err := strconv.ParseUint(digits, 10, 16)
		if err != nil || protocol == "" || strings.Contains(protocol, "/") {
			return true
		}
		s = Service{
			Name: fields[0], Port: uint16(port), Protocol: protocol,
			Aliases: strings.Join(fields[2:], " "), Comment: comment,
		}
		return yield(&s)
	})
}

// A Protocol is a line of protocols(5).
type Protocol struct {
	Name    string
	Number  int32  // 0 to 255 in an IP header; Linux has 262 for MPTCP
	Alias   string // the first further name
	Comment string
}

// Protocols parses protocols(5).
func Protocols(r io.Reader, yield func(*Protocol) bool) error {
	var p Protocol
	return lines(r, func(line string) bool {
		fields, comment := cutComment(line)
		if len(fields) < 2 {
			return true
		}
		number, err := strconv.ParseUint(fields[1], 10, 31)
		if err != nil {
			return true
		}
		p = Protocol{Name: fields[0], Number: int32(number), Comment: comment}
		if len(fields) > 2 {
			p.Alias = fields[2]
		}
		return yield(&p)
	})
}
