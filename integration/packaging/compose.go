// Reads compose files as `docker compose config` does, with compose's own library: schema, interpolation, and whether what is named is there.
//
//	compose FILE...
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
)

func main() {
	for _, file := range os.Args[1:] {
		options, err := cli.NewProjectOptions([]string{file}, cli.WithOsEnv, cli.WithInterpolation(true), cli.WithNormalization(true), cli.WithConsistency(true))
		if err == nil {
			project, loaded := options.LoadProject(context.Background())
			if err = loaded; err == nil {
				_, err = project.MarshalYAML()
			}
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", file, err)
			os.Exit(1)
		}
	}
}
