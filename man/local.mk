# SPDX-License-Identifier: Apache-2.0
dist_man_MANS += man/flows.yaml.5 man/sluice-plugin.3 man/sluicectl.1 man/sluiced.8
