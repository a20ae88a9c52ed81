package soak

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

const usage = `usage: bench soak [flags]
       bench soak [flags] -only INDEX

soak runs whole connections in virtual time, over random hostile paths and with random calls, and checks
what has to hold whatever happens. A case is repeated by its seed and index. One that fails is minimised:
it is run again without one feature after the other, while it still fails.

`

// Main runs the command with these arguments, of which the first is its name.
func Main(args []string, progress func(format string, args ...any)) error {
	if args[0] == "soakcase" && len(args) == 2 {
		return Child(args[1])
	}
	f := flag.NewFlagSet("soak", flag.ExitOnError)
	f.Usage = func() {
		fmt.Fprint(f.Output(), usage)
		f.PrintDefaults()
	}
	o := Options{Progress: progress}
	f.Float64Var(&o.Hours, "hours", 100, "connection-hours to run, 0 for any number")
	f.DurationVar(&o.Time, "time", 0, "real time after which no more cases are begun, 0 for no bound")
	f.Uint64Var(&o.Seed, "seed", 1, "seed of everything that is drawn")
	f.IntVar(&o.First, "first", 0, "index of the first case")
	f.IntVar(&o.Procs, "procs", 0, "cases at a time, 0 for one on each processor")
	f.BoolVar(&o.Minimise, "minimise", true, "minimise what fails")
	only := f.Int("only", -1, "run the case with this index alone")
	quick := f.Bool("quick", false, "half a minute's sample")
	without := f.String("without", "", "features to leave out, separated by commas")
	f.IntVar(&o.Case.Slots, "slots", 0, "most clients at a time in a case, 0 for as many as it has")
	f.Float64Var(&o.Case.Minutes, "minutes", 0, "most minutes for which clients connect in a case, 0 for as long as it is")
	f.Parse(args[1:])
	if f.NArg() > 0 {
		f.Usage()
		os.Exit(2)
	}
	if *quick {
		o.Hours, o.Time, o.Case.Slots, o.Case.Minutes = 0, 30*time.Second, 3, 30
	}
	o.Only, o.Case.Seed, o.Case.Index = *only >= 0, o.Seed, *only
	for _, name := range strings.FieldsFunc(*without, func(r rune) bool { return r == ',' }) {
		if _, known := features[name]; !known {
			return fmt.Errorf("no feature is called %q", name)
		}
		o.Case.Without = append(o.Case.Without, name)
	}
	slices.Sort(o.Case.Without)
	return Run(o)
}
