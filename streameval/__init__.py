"""streameval: streaming evaluation of models whose labels come late.

Reads prediction and outcome events, joins them, and keeps metrics, calibration, prevalence, drift alarms and
decision thresholds up to date. The rooms (sub-packages) and the one direction in which data flows through them are
checked by ``tests/house``.
"""

__version__ = "0.1.0"
