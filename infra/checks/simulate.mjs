// The cases of iam-matrix.yaml on iam-simulate: simulations on standard input, and per simulation whether it is allowed, or what is wrong with it.
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const require = createRequire(`${process.argv[2]}/`)
const { runSimulation } = await import(pathToFileURL(require.resolve('@cloud-copilot/iam-simulate')).href)
let text = ''
for await (const piece of process.stdin) text += piece
const found = []
for (const simulation of JSON.parse(text)) {
  const result = await runSimulation(simulation, {})
  found.push(result.resultType === 'error' ? { wrong: JSON.stringify(result.errors) } : { allowed: result.overallResult === 'Allowed' })
}
process.stdout.write(JSON.stringify(found))
