package main

// commands lists every subcommand, in the order that help shows them: it is
// the one place to add one.
func commands() []command {
	return []command{
		runCommand(),
		genCommand(),
		benchCommand(),
		readCommand(),
		decodeCommand(),
		queryCommand(),
		tailCommand(),
		rulesCommand(),
		fieldsCommand(),
		topicsCommand(),
	}
}
