package main

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"sockql/internal/bench/timing"
)

// A chart shows the time of one question against the number of sockets.
type chart struct {
	file, key, title string
}

var charts = []chart{
	{"every-column", "all", "Every column of every socket, with its process"},
	{"one-process", "pid", "The sockets of one process"},
	{"listeners", "listeners", "TCP listeners with their processes"},
}

const (
	chartWidth  = 680 * vg.Length(0.75) // CSS pixels in points
	chartHeight = 440 * vg.Length(0.75)
	margin      = 10
	headHeight  = 42
	namesWidth  = 150
)

var (
	ink   = color.RGBA{0x33, 0x33, 0x33, 0xff}
	faint = color.RGBA{0xe2, 0xe2, 0xe2, 0xff}
	bold  = color.RGBA{0xc2, 0x18, 0x5b, 0xff} // sockql
	// The colours of the others are told apart also by those who see few
	// colours: after Okabe and Ito.
	others = map[string]color.RGBA{
		"sockql --source netlink":  {0xe0, 0x82, 0xa6, 0xff},
		"ss -anp":                  {0x00, 0x72, 0xb2, 0xff},
		"ss -tanp state listening": {0x00, 0x72, 0xb2, 0xff},
		"netstat -anp":             {0x56, 0xb4, 0xe9, 0xff},
		"lsof -nP -i -U":           {0x00, 0x9e, 0x73, 0xff},
		"lsof -nP -a -i -p PID":    {0x00, 0x9e, 0x73, 0xff},
		"osqueryi":                 {0xd5, 0x5e, 0x00, 0xff},
		"gopsutil":                 {0x7a, 0x7a, 0x7a, 0xff},
	}
)

// A line is a program's.
type line struct {
	program string
	points  plotter.XYs // sockets, seconds
}

// linesOf collects a question's medians over the loads that are in one
// namespace. A program that ran into its limit has no point there.
func linesOf(r timing.Result, key string) []line {
	var lines []line
	for _, l := range r.Loads {
		if l.Namespaces > 1 {
			continue
		}
		for _, a := range l.Question(key).Answers {
			if _, ok := others[a.Program]; !ok && a.Program != "sockql" || len(a.Runs) == 0 {
				continue
			}
			i := slices.IndexFunc(lines, func(o line) bool { return o.program == a.Program })
			if i < 0 {
				i = len(lines)
				lines = append(lines, line{program: a.Program})
			}
			lines[i].points = append(lines[i].points, plotter.XY{X: float64(l.Sockets), Y: a.Wall().Median.Seconds()})
		}
	}
	for _, l := range lines {
		slices.SortFunc(l.points, func(a, b plotter.XY) int { return int(a.X - b.X) })
	}
	return lines
}

// writeCharts draws the questions that were asked of at least two programs.
func writeCharts(dir string, r timing.Result, pixels bool) error {
	formats := []string{"svg"}
	if pixels {
		formats = append(formats, "png")
	}
	for _, c := range charts {
		lines := linesOf(r, c.key)
		if len(lines) < 2 {
			continue
		}
		for _, format := range formats {
			var out bytes.Buffer
			if err := c.draw(&out, format, lines); err != nil {
				return fmt.Errorf("chart %s: %w", c.file, err)
			}
			if err := os.WriteFile(filepath.Join(dir, c.file+"."+format), out.Bytes(), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

func typeface(size vg.Length, weight xfont.Weight) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Weight: weight, Size: size}
}

// draw writes one chart in a format that the plot library knows.
func (c chart) draw(w io.Writer, format string, lines []line) error {
	p := plot.New()
	p.BackgroundColor = color.White
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Scale = plot.LogScale{}
		axis.Tick.Label.Font = typeface(10, xfont.WeightNormal)
		axis.Tick.Label.Color = ink
		axis.LineStyle.Color = ink
		axis.Tick.LineStyle.Color = ink
		axis.Padding = 0
	}
	sizes, low, high := extent(lines)
	p.Y.Min, p.Y.Max = low, high
	p.X.Min, p.X.Max = sizes[0]*0.85, sizes[len(sizes)-1]*1.1
	var ticks plot.ConstantTicks
	for _, n := range sizes {
		ticks = append(ticks, plot.Tick{Value: n, Label: timing.Number(int(n))})
	}
	p.X.Tick.Marker = ticks
	p.Y.Tick.Marker = timeTicks(low, high)

	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = faint, faint
	p.Add(grid)

	// sockql last, on top of the others.
	slices.SortStableFunc(lines, func(a, b line) int { return weight(a) - weight(b) })
	for _, l := range lines {
		stroke, dots, err := plotter.NewLinePoints(l.points)
		if err != nil {
			return err
		}
		stroke.Width, stroke.Color = 1.6, others[l.program]
		dots.Radius, dots.Shape = 2.2, draw.CircleGlyph{}
		if l.program == "sockql" {
			stroke.Width, stroke.Color = 3.2, bold
			dots.Radius = 3.6
		}
		dots.Color = stroke.Color
		p.Add(stroke, dots)
	}

	canvas, err := draw.NewFormattedCanvas(chartWidth, chartHeight, format)
	if err != nil {
		return err
	}
	whole := draw.New(canvas)
	whole.SetColor(color.White)
	whole.Fill(whole.Rectangle.Path())
	area := draw.Crop(whole, margin, -margin-namesWidth, margin, -margin-headHeight)
	p.Draw(area)
	c.head(whole, p.X.Tick.Label)
	c.name(p, area, lines)

	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		return err
	}
	// A browser without the library's font takes one of the same widths.
	text := bytes.ReplaceAll(out.Bytes(), []byte("font-family:Liberation Sans"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif"))
	_, err = w.Write(text)
	return err
}

func weight(l line) int {
	if l.program == "sockql" {
		return 1
	}
	return 0
}

// head writes the title, and what the axes are: the library's own labels of
// logarithmic axes take room away from the lines.
func (c chart) head(whole draw.Canvas, style draw.TextStyle) {
	at := vg.Point{X: whole.Min.X + margin, Y: whole.Max.Y - margin}
	style.XAlign, style.YAlign = draw.XLeft, draw.YTop
	style.Font = typeface(13, xfont.WeightBold)
	whole.FillText(style, at, c.title)
	style.Font = typeface(10, xfont.WeightNormal)
	at.Y -= 19
	whole.FillText(style, at, "Time from start to end of the program, against the sockets of the load; less is better")
}

// name writes each program's name beside the end of its line, moved up or down
// where two would touch.
func (c chart) name(p *plot.Plot, area draw.Canvas, lines []line) {
	type label struct {
		line
		at vg.Length
	}
	data := p.DataCanvas(area)
	_, y := p.Transforms(&data)
	var labels []label
	for _, l := range lines {
		labels = append(labels, label{l, y(l.points[len(l.points)-1].Y)})
	}
	slices.SortFunc(labels, func(a, b label) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	at := make([]vg.Length, len(labels))
	for i, l := range labels {
		at[i] = l.at
	}
	spreadOut(at, 13)
	for i, l := range labels {
		style := p.X.Tick.Label
		style.Font = typeface(10, xfont.WeightNormal)
		style.Color = others[l.program]
		if l.program == "sockql" {
			style.Font, style.Color = typeface(11, xfont.WeightBold), bold
		}
		style.XAlign, style.YAlign = draw.XLeft, draw.YCenter
		last := l.points[len(l.points)-1]
		text := fmt.Sprintf("%s  %s", l.program, timing.Time(time.Duration(last.Y*float64(time.Second))))
		if sizes, _, _ := extent(lines); last.X < sizes[len(sizes)-1] {
			text += " at " + timing.Number(int(last.X))
		}
		data.FillText(style, vg.Point{X: data.Max.X + 7, Y: at[i]}, text)
	}
}

// spreadOut moves sorted positions apart until they are at least gap apart,
// each group around its own middle.
func spreadOut(at []vg.Length, gap vg.Length) {
	type group struct {
		from, n int
		middle  vg.Length
	}
	var groups []group
	for i, y := range at {
		groups = append(groups, group{i, 1, y})
		for len(groups) > 1 {
			b, a := groups[len(groups)-1], groups[len(groups)-2]
			if b.middle-a.middle >= gap*vg.Length(a.n+b.n)/2 {
				break
			}
			n := a.n + b.n
			groups = append(groups[:len(groups)-2], group{a.from, n, (a.middle*vg.Length(a.n) + b.middle*vg.Length(b.n)) / vg.Length(n)})
		}
	}
	for _, g := range groups {
		for i := range g.n {
			at[g.from+i] = g.middle + gap*(vg.Length(i)-vg.Length(g.n-1)/2)
		}
	}
}

// extent returns the sizes of the loads, and the times between which the lines
// are, with some room.
func extent(lines []line) (sizes []float64, low, high float64) {
	low, high = math.Inf(1), 0
	for _, l := range lines {
		for _, p := range l.points {
			if !slices.Contains(sizes, p.X) {
				sizes = append(sizes, p.X)
			}
			low, high = min(low, p.Y), max(high, p.Y)
		}
	}
	slices.Sort(sizes)
	return sizes, low / 1.5, high * 1.5
}

// timeTicks marks 1, 2 and 5 of each power of ten.
func timeTicks(low, high float64) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for power := math.Floor(math.Log10(low)); power <= math.Log10(high); power++ {
		for _, digit := range []float64{1, 2, 5} {
			if v := digit * math.Pow(10, power); v >= low && v <= high {
				ticks = append(ticks, plot.Tick{Value: v, Label: shortTime(v)})
			}
		}
	}
	return ticks
}

// shortTime writes a round number of seconds.
func shortTime(seconds float64) string {
	if seconds < 1 {
		return fmt.Sprintf("%.3g ms", seconds*1e3)
	}
	return fmt.Sprintf("%.3g s", seconds)
}
