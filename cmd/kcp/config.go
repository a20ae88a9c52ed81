package main

import (
	"flag"
	"os"
	"strings"
)

// readConfig sets the options that a file has and the command line has not. A name of "" is no file.
func readConfig(fs *flag.FlagSet, name string) error {
	if name == "" {
		return nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return usagef("-config: %v", err)
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		option, value, _ := strings.Cut(line, " ")
		value = strings.TrimSpace(value)
		f := fs.Lookup(option)
		switch {
		case f == nil || option == "config":
			return usagef("%s, line %d: there is no option %q", name, n, option)
		case given[option]:
			continue
		case value == "" && isSwitch(f):
			value = "true"
		}
		if err := fs.Set(option, value); err != nil {
			return usagef("%s, line %d: %s: %v", name, n, option, err)
		}
	}
	return nil
}

// isSwitch says whether an option is on or off.
func isSwitch(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}
