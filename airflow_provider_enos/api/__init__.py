"""
What EnOS understands: values, messages, signatures, and the order of calls.

Nothing here imports Airflow, opens a socket or reads a clock.
"""
